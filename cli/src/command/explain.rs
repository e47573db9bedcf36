//! `isthmus explain`: how a request is decided, and why each other route lost.

use std::path::PathBuf;

use clap::Args;
use isthmus_control_plane::socket;
use isthmus_ir::matcher::explain::Question;
use serde_json::json;

use super::Instance;
use crate::{
    answer::{Answer, answers},
    failure::Failure,
    manifests::Manifests,
    output::{JsonOnly, print, print_json},
};

/// Show how a request is decided, and why each other route lost.
///
/// The running proxies are asked, which trace the very decision that they would serve by; with -f it is
/// made from manifests.
#[derive(Args)]
pub(crate) struct Explain {
    /// Method.
    method: String,
    /// Absolute URL. Its host and port say where the connection is made.
    url: String,
    /// Header field; `Host` takes the place of the URL's host.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Directory or file of manifests, to ask instead of the running instance; `-` is standard input.
    #[arg(short, long = "file", value_name = "DIR")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    instance: Instance,
    #[command(flatten)]
    output: JsonOnly,
}

impl Explain {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let headers = self.headers()?;
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let question = Question::new(&self.method, &self.url, pairs)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let answers =
            if self.file.is_empty() { self.ask(headers).await? } else { self.read(&question)? };
        if self.output.is_json() {
            return print_json(&json!({ "answers": answers }));
        }
        if answers.is_empty() {
            return print(&format!("nothing listens where {} leads\n", self.url));
        }
        let texts: Vec<String> = answers.iter().map(ToString::to_string).collect();
        print(&texts.join("\n"))
    }

    fn headers(&self) -> Result<Vec<(String, String)>, Failure> {
        let pair = |text: &String| {
            let (name, value) = text.split_once(':').filter(|(name, _)| !name.trim().is_empty())?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        let wrong = |text| Failure::Usage(format!("{text:?} is no header field: write 'name: value'"));
        self.headers.iter().map(|text| pair(text).ok_or_else(|| wrong(text))).collect()
    }

    async fn ask(&self, headers: Vec<(String, String)>) -> Result<Vec<Answer>, Failure> {
        let question = socket::Question { method: self.method.clone(), url: self.url.clone(), headers };
        let mut answers = Vec::new();
        for of_proxy in self.instance.client().explain(question).await? {
            for answer in of_proxy.answers {
                let mut answer: Answer = serde_json::from_value(answer)?;
                answer.proxy = Some(of_proxy.proxy.clone());
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    fn read(&self, question: &Question) -> Result<Vec<Answer>, Failure> {
        let mut manifests = Manifests::read(self.file.iter().map(PathBuf::as_path))?;
        let translation = manifests.translate();
        super::complain(&manifests.diagnostics);
        Ok(translation.scopes.values().flat_map(|resources| answers(question, resources)).collect())
    }
}

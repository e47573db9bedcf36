//! The images of Isthmus itself, from the programs that were built: each holds one stripped program and the
//! libraries that the loader says it needs, and no shell. `make image` writes them for people.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cluster::command::output,
    image::{self, Image},
};

/// The version that images are tagged with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The images, and the program that each holds.
const IMAGES: [(&str, &str); 2] = [("isthmus", "isthmus"), ("proxy", "isthmus-proxy")];

/// Whom our programs run as.
const USER: &str = "65532:65532";

/// The image that talks to public servers, and where it finds the certificates of their authorities.
const TRUSTING: &str = "isthmus";
const TRUSTED: &str = "etc/ssl/certs/ca-certificates.crt";

/// Where distributions keep the certificates of public authorities.
const AUTHORITIES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Writes `isthmus.tar` and `proxy.tar`, tagged with `version`, into `directory` and returns their paths.
///
/// # Errors
/// When a program was not built or a library of it is missing.
pub fn write_images(programs: &Path, directory: &Path, version: &str) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(directory)?;
    let work = tempfile::tempdir_in(directory)?;
    let mut archives = Vec::new();
    for (name, program) in IMAGES {
        let mut files = program_files(&programs.join(program), work.path())?;
        if name == TRUSTING {
            let found = AUTHORITIES.iter().map(PathBuf::from).find(|path| path.is_file());
            let found =
                found.context("no certificates of public authorities: install ca-certificates")?;
            files.insert(TRUSTED.to_owned(), found);
        }
        let image = Image {
            name: format!("isthmus.dev/{name}:{version}"),
            entrypoint: vec![format!("/{program}")],
            user: USER.to_owned(),
            files,
            ..Image::default()
        };
        // Another test may read the archive that is there.
        let unfinished = work.path().join(format!("{name}.tar"));
        image::write(&[image], &unfinished)?;
        let archive = directory.join(format!("{name}.tar"));
        std::fs::rename(unfinished, &archive)?;
        archives.push(archive);
    }
    Ok(archives)
}

/// A program and its libraries, by their paths in the image.
fn program_files(program: &Path, work: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let name = program.file_name().context("a program has a name")?;
    let stripped = work.join(name);
    output(Command::new("strip").arg("-o").arg(&stripped).arg(program))?;
    let mut files = BTreeMap::from([(name.to_string_lossy().into_owned(), stripped)]);
    let listed = output(Command::new("ldd").arg(program))?;
    for library in libraries(&listed)? {
        // The loader looks for a library in the directories of this system, and for itself by its full path.
        files.insert(library.trim_start_matches('/').to_owned(), PathBuf::from(library));
    }
    Ok(files)
}

/// The paths in what `ldd` prints: `name => /path (address)` or, for the loader, `/path (address)`.
fn libraries(listed: &str) -> Result<Vec<&str>> {
    let mut paths = Vec::new();
    for line in listed.lines() {
        if line.contains("not found") {
            bail!("library {}", line.trim());
        }
        paths.extend(line.split_whitespace().find(|word| word.starts_with('/')));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_with_the_loader_and_without_the_kernels() {
        let listed =
            "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7f)";
        assert_eq!(libraries(listed).unwrap(), ["/lib/x/libc.so.6", "/lib64/ld.so.2"]);
        assert!(libraries("\tlibz.so => not found").is_err());
    }

    #[test]
    fn the_dockerfile_makes_the_same_images() {
        let file = include_str!("../../Dockerfile");
        let (build, images) = file.split_once("FROM scratch").unwrap();
        // All that is copied into an image is its directory of the first stage, where each program is
        // stripped and joined by what the loader lists.
        for step in
            ["for program in isthmus isthmus-proxy; do", "strip -o \"/image/$program/$program\"", "ldd"]
        {
            assert!(build.contains(step), "{step} is not in the Dockerfile");
        }
        assert_eq!(build.matches("cp --parents").count(), 1, "more files are copied than ours have");
        assert!(build.contains(&format!("cp --parents /{TRUSTED} /image/{TRUSTING}\n")), "{build}");
        let images: Vec<&str> = images.split("FROM scratch").map(str::trim).collect();
        let expected = IMAGES.map(|(name, program)| {
            format!("AS {name}\nCOPY --from=build /image/{program} /\nUSER {USER}\nENTRYPOINT [\"/{program}\"]")
        });
        assert_eq!(images, expected);
        for (name, _) in IMAGES {
            assert!(file.contains(&format!("--target {name} -t isthmus.dev/{name}:{VERSION} ")));
        }
    }
}

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

/// Whom our programs run as.
const USER: &str = "65532:65532";

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
    for (name, program) in [("isthmus", "isthmus"), ("proxy", "isthmus-proxy")] {
        let mut files = program_files(&programs.join(program), work.path())?;
        if name == "isthmus" {
            let found = AUTHORITIES.iter().map(PathBuf::from).find(|path| path.is_file());
            let found =
                found.context("no certificates of public authorities: install ca-certificates")?;
            files.insert("etc/ssl/certs/ca-certificates.crt".to_owned(), found);
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
}

//! Writes the images of Isthmus: `images PROGRAMS DIRECTORY`, from the directory with the built programs.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::path::Path;

use anyhow::{Result, bail};
use isthmus_e2e::product;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [programs, directory] = arguments.as_slice() else {
        bail!("usage: images PROGRAMS DIRECTORY");
    };
    for archive in product::write_images(Path::new(programs), Path::new(directory), product::VERSION)? {
        println!("{} ({} KB)", archive.display(), std::fs::metadata(&archive)?.len() / 1024);
    }
    Ok(())
}

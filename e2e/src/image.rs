//! Writes container images as OCI archives, from files and without a container engine. Equal input gives
//! equal bytes: times, owners and the order of entries are fixed. What belongs into an image is decided by
//! the callers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One image with one layer.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Its full name with a tag, such as `isthmus.dev/proxy:0.1.0`.
    pub name: String,
    /// What a container runs.
    pub entrypoint: Vec<String>,
    /// `uid:gid` of a container's process; root when empty.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Path in the image, without a leading slash, to the file on this machine. A file keeps whether it may
    /// be executed.
    pub files: BTreeMap<String, PathBuf>,
}

/// Writes `images` into one archive, which `ctr images import` and `docker load` read.
///
/// # Errors
/// When a file cannot be read or the archive not be written.
pub fn write(images: &[Image], archive: &Path) -> Result<()> {
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for image in images {
        manifests.push(manifest(image, &mut blobs).with_context(|| format!("image {}", image.name))?);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    let mut entries = BTreeMap::from([
        ("index.json".to_owned(), index.to_string().into_bytes()),
        ("oci-layout".to_owned(), json!({ "imageLayoutVersion": "1.0.0" }).to_string().into_bytes()),
    ]);
    for (digest, bytes) in blobs {
        entries.insert(format!("blobs/sha256/{digest}"), bytes);
    }
    if let Some(directory) = archive.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let file = File::create(archive).with_context(|| archive.display().to_string())?;
    let mut out = tar::Builder::new(BufWriter::new(file));
    for (path, bytes) in &entries {
        append(&mut out, path, 0o644, bytes)?;
    }
    out.into_inner()?.flush()?;
    Ok(())
}

/// The descriptor of `image`'s manifest; its parts are added to `blobs`.
fn manifest(image: &Image, blobs: &mut BTreeMap<String, Vec<u8>>) -> Result<Value> {
    let layer = layer(&image.files)?;
    let diff = format!("sha256:{}", hex(&Sha256::digest(&layer)));
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": image.entrypoint, "User": image.user, "Env": image.env },
        "rootfs": { "type": "layers", "diff_ids": [diff] },
        "history": [],
    });
    let config =
        blob(blobs, "application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
    let layer = blob(blobs, "application/vnd.oci.image.layer.v1.tar", layer);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let descriptor =
        blob(blobs, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().into_bytes());
    let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    Ok(json!({
        "mediaType": descriptor.get("mediaType"),
        "digest": descriptor.get("digest"),
        "size": descriptor.get("size"),
        "platform": { "architecture": architecture(), "os": "linux" },
        "annotations": {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": tag,
        },
    }))
}

fn blob(blobs: &mut BTreeMap<String, Vec<u8>>, media_type: &str, bytes: Vec<u8>) -> Value {
    let digest = hex(&Sha256::digest(&bytes));
    let descriptor =
        json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() });
    blobs.insert(digest, bytes);
    descriptor
}

/// The only layer: `files` and the directories that they need.
fn layer(files: &BTreeMap<String, PathBuf>) -> Result<Vec<u8>> {
    let mut out = tar::Builder::new(Vec::new());
    let directories: BTreeSet<&Path> =
        files.keys().flat_map(|path| Path::new(path).ancestors().skip(1)).collect();
    for directory in directories.into_iter().filter(|directory| !directory.as_os_str().is_empty()) {
        let mut header = header(0o755, 0);
        header.set_entry_type(tar::EntryType::Directory);
        out.append_data(&mut header, directory, std::io::empty())?;
    }
    for (path, source) in files {
        let bytes = std::fs::read(source).with_context(|| source.display().to_string())?;
        append(&mut out, path, mode(source)?, &bytes)?;
    }
    Ok(out.into_inner()?)
}

fn mode(source: &Path) -> Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = std::fs::metadata(source)?.permissions().mode() & 0o111 != 0;
    Ok(if executable { 0o755 } else { 0o644 })
}

fn append<W: Write>(out: &mut tar::Builder<W>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = header(mode, u64::try_from(bytes.len())?);
    Ok(out.append_data(&mut header, path, bytes)?)
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// This machine's architecture, as images name it.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_give_equal_archives_whatever_their_times() {
        let directory = tempfile::tempdir().unwrap();
        let archive = |name: &str, file: &str| {
            std::fs::write(directory.path().join(file), "text").unwrap();
            let files = BTreeMap::from([("etc/some/file".to_owned(), directory.path().join(file))]);
            let image = Image { name: "isthmus.dev/test:1".to_owned(), files, ..Image::default() };
            let to = directory.path().join(name);
            write(&[image], &to).unwrap();
            std::fs::read(to).unwrap()
        };
        let first = archive("first.tar", "a");
        File::open(directory.path().join("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(first, archive("second.tar", "b"));
    }
}

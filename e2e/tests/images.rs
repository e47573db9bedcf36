//! The images of Isthmus: small, equal for equal programs, and able to run with nothing but themselves.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use isthmus_e2e::{
    cluster::{self, Cluster},
    product::{VERSION, write_images},
    programs,
};

/// Each program, and how large its image may be; those of the release profile are smaller.
const BOUNDS: [(&str, u64); 2] = [("isthmus", 60_000_000), ("isthmus-proxy", 30_000_000)];

#[test]
fn images_are_small_and_run_without_rights_or_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let archives = write_images(&programs(), &directory.path().join("first"), VERSION).unwrap();
    let again = write_images(&programs(), &directory.path().join("second"), VERSION).unwrap();
    for (one, other) in archives.iter().zip(&again) {
        assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{}", one.display());
    }
    for (archive, (program, bound)) in archives.iter().zip(BOUNDS) {
        let size = std::fs::metadata(archive).unwrap().len();
        assert!(size <= bound, "the image of {program} has {size} bytes");
        let others: Vec<PathBuf> = files(archive)
            .into_iter()
            .filter(|file| !is_library(file) && file != Path::new(program))
            .collect();
        let trusted = PathBuf::from("etc/ssl/certs/ca-certificates.crt");
        let expected = if program == "isthmus" { vec![trusted] } else { Vec::new() };
        assert_eq!(others, expected, "beside {program} and its libraries");
    }

    let clusters = cluster::up(1, 1).unwrap();
    let cluster = &clusters.all()[0];
    for archive in &archives {
        cluster.load(archive).unwrap();
    }
    for name in ["isthmus", "proxy"] {
        let said = said_by(cluster, name);
        assert!(said.contains(VERSION), "{name} says {said}");
        let image = format!("isthmus.dev/{name}:{VERSION}");
        let files = cluster.kubectl(&["get", "pod", name, "-n", "images", "-o", "yaml"]).unwrap();
        assert!(files.contains(&image));
    }
}

/// The files of all layers of an archive, in their order.
fn files(archive: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for blob in tar::Archive::new(File::open(archive).unwrap()).entries().unwrap() {
        let mut bytes = Vec::new();
        blob.unwrap().read_to_end(&mut bytes).unwrap();
        // All that is no layer is JSON.
        if bytes.starts_with(b"{") {
            continue;
        }
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let entry = entry.unwrap();
            if !entry.header().entry_type().is_dir() {
                found.push(entry.path().unwrap().into_owned());
            }
        }
    }
    assert!(!found.is_empty(), "{} has no layer", archive.display());
    found
}

/// Whether a path is that of a shared library, or of the loader: `lib.../name.so.N`.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (directory, _) = path.to_str().unwrap().split_once('/').unwrap_or_default();
    ["lib", "lib64", "usr"].contains(&directory) && name.contains(".so")
}

/// What a program says about its version, run as strictly as Kubernetes can.
fn said_by(cluster: &Cluster, name: &str) -> String {
    let pod = format!(
        r"
apiVersion: v1
kind: Namespace
metadata: {{name: images, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: images}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: {name}
      image: isthmus.dev/{name}:{VERSION}
      imagePullPolicy: IfNotPresent
      args: [--version]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {{drop: [ALL]}}
"
    );
    cluster.apply(&pod).unwrap();
    let ended = "--for=jsonpath={.status.phase}=Succeeded";
    cluster.kubectl(&["wait", "-n", "images", ended, &format!("pod/{name}"), "--timeout=60s"]).unwrap();
    cluster.kubectl(&["logs", "-n", "images", name]).unwrap()
}

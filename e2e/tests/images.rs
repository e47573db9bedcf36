//! The images of Isthmus: small, equal for equal programs, and able to run with nothing but themselves.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use isthmus_e2e::{
    cluster::{self, Cluster},
    product::{VERSION, write_images},
    programs,
};

#[test]
fn images_are_small_and_run_without_rights_or_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let archives = write_images(&programs(), &directory.path().join("first"), VERSION).unwrap();
    let again = write_images(&programs(), &directory.path().join("second"), VERSION).unwrap();
    for (one, other) in archives.iter().zip(&again) {
        assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap(), "{}", one.display());
    }
    let proxy = std::fs::metadata(&archives[1]).unwrap().len();
    assert!(proxy <= 30_000_000, "the proxy's image has {proxy} bytes");

    let cluster = &cluster::shared()[0];
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

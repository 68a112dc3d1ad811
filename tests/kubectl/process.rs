//! `verdict cluster` as people start it.

use std::fs;
use std::path::Path;

use super::session::{Session, kubectl};
use crate::processes::{Program, until};

const GADGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.dev}
spec:
  group: example.dev
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, shortNames: [gd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What a gadget is.
            properties:
              size: {type: string, enum: [small, large], default: small}
    additionalPrinterColumns:
    - {name: Size, type: string, jsonPath: .spec.size}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
";

#[tokio::test]
async fn verdict_cluster_serves_people_with_kubectl() {
    let Some(program) = kubectl() else {
        return;
    };
    let mut session = Session::at("http://127.0.0.1:1", "default", program);
    let kubeconfig = session.folder().join("kubeconfig");
    fs::remove_file(&kubeconfig).unwrap();
    let _cluster = Program::start(&["cluster", "--kubeconfig", kubeconfig.to_str().unwrap()]);
    let is_written = || fs::read_to_string(&kubeconfig).is_ok_and(|text| text.contains("token"));
    until(|| is_written().then_some(())).await;
    apply_our_manifests(&mut session);
    define_gadgets(&mut session);
    forget_token(&mut session, &kubeconfig);
    insta::assert_snapshot!(session.screen());
}

fn apply_our_manifests(session: &mut Session) {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
    std::os::unix::fs::symlink(deploy, session.folder().join("deploy")).unwrap();
    let apply = "apply -f deploy/crds -f deploy/manifests -f deploy/examples";
    session.run(apply);
    let again = session.call(apply);
    assert_eq!(again.code, 0, "{}", again.err);
    let is_unchanged = |line: &str| line.ends_with(" unchanged");
    assert!(again.out.lines().all(is_unchanged), "{}", again.out);
    session.prepare("rollout status deployment/verdict -n argo-rollouts --timeout=60s");
    let role = "--as=system:serviceaccount:argo-rollouts:verdict";
    session.run(&format!("auth can-i patch rollouts.argoproj.io/web {role}"));
    session.run(&format!("auth can-i list secrets {role}"));
}

fn define_gadgets(session: &mut Session) {
    session.file("gadgets.yaml", GADGETS);
    session.file(
        "gadget.yaml",
        "apiVersion: example.dev/v1\nkind: Gadget\nmetadata: {name: one}\nspec: {}\n",
    );
    session.run("apply -f gadget.yaml");
    session.run("apply -f gadgets.yaml");
    session.prepare("wait crd/gadgets.example.dev --for=condition=Established --timeout=60s");
    session.run("apply -f gadget.yaml");
    session.run("get gd");
    session.run("explain gadget.spec");
    session.run(r#"patch gadget one --type=merge -p '{"spec": {"size": "huge"}}'"#);
    session.run("delete crd gadgets.example.dev");
    session.run("get gadgets");
}

fn forget_token(session: &mut Session, kubeconfig: &Path) {
    let text = fs::read_to_string(kubeconfig).unwrap();
    let token = text.split("token: \"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    fs::remove_file(kubeconfig).unwrap();
    fs::write(kubeconfig, text.replace(token, "wrong")).unwrap();
    session.run("get pods");
}

//! The commands that make objects or judge files.

use serde_json::json;
use verdict::api::{AnalysisRun, AnalysisTemplate};
use verdict::cli::Program;

use super::desk::{Desk, a_template};
use crate::tools::Folder;
use crate::world::World;

const ROLLOUT: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
  strategy:
    canary:
      steps:
      - setWeight: 20
      - analysis: {templates: [{templateName: success-rate}]}
";

#[tokio::test(start_paused = true)]
async fn objects_are_created_from_files_and_templates() {
    let world = World::without_sources().await;
    let folder = Folder::new("creating");
    let rollout = folder.write("rollout.yaml", ROLLOUT);
    let mut template = a_template();
    template["spec"]["args"] = json!([{ "name": "service" }, { "name": "limit", "value": "1" }]);
    let template = folder.write("template.json", &template.to_string());
    let global = template_of_all(&folder);
    let unknown = folder.write("unknown.yaml", &ROLLOUT.replace("steps:", "stepps:"));
    let other = folder.write(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n",
    );
    let mut desk = Desk::new(&world);
    for line in [
        format!("create -f {rollout} -f {template}"),
        format!("create -f {rollout}"),
        format!("create -f {global}"),
        format!("create -f {unknown}"),
        format!("create -f {other}"),
        format!("create -f {rollout} -f {template} -w"),
        "create".to_owned(),
        "create analysisrun".to_owned(),
        "create analysisrun --from success-rate".to_owned(),
        "create analysisrun --from success-rate -a service".to_owned(),
        "create ar --from success-rate -a service=web -a typo=1 --name smoke".to_owned(),
        "create analysisrun --from none --name a".to_owned(),
        "create analysisrun --global --from everywhere --name b".to_owned(),
        format!("create analysisrun --from-file {template} -a service=web --name c"),
        "list ar".to_owned(),
    ] {
        desk.run(&line).await;
    }
    let run: AnalysisRun = world.get("smoke").await;
    assert_eq!(run.spec.args.len(), 2);
    let text = desk
        .transcript()
        .replace(folder.path().to_str().unwrap(), "<folder>");
    insta::assert_snapshot!(text);
}

fn template_of_all(folder: &Folder) -> String {
    let mut template = a_template();
    template["kind"] = json!("ClusterAnalysisTemplate");
    template["metadata"]["name"] = json!("everywhere");
    folder.write("global.json", &template.to_string())
}

#[tokio::test(start_paused = true)]
async fn files_are_judged_before_a_cluster_sees_them() {
    let world = World::without_sources().await;
    let folder = Folder::new("linting");
    let good = folder.write("good.yaml", ROLLOUT);
    let bad = ROLLOUT
        .replace("setWeight: 20", "setWeight: 120")
        .replace("image: 'web:1'", "img: a");
    let bad = folder.write("bad.yaml", &bad);
    let unknown = folder.write(
        "unknown.yaml",
        &ROLLOUT.replace("canary:", "canary:\n      wheight: 1"),
    );
    let condition = {
        let mut template = a_template();
        template["spec"]["metrics"][0]["successCondition"] = json!("result >= {{args.limit}} )");
        let text = serde_saphyr::to_string(&template).unwrap();
        folder.write("condition.yaml", &text)
    };
    let broken = folder.write("broken.yaml", "kind: [\n");
    let template = folder.write("template.json", &a_template().to_string());
    let mut desk = Desk::new(&world);
    for line in [
        format!("lint -f {good}"),
        format!("lint -f {good} -f {template}"),
        format!("lint -f {good} --live"),
        format!("lint -f {bad}"),
        format!("lint -f {bad} -o json"),
        format!("lint -f {unknown}"),
        format!("lint -f {condition}"),
        format!("lint -f {condition} -o json"),
        format!("lint -f {broken}"),
        format!("lint -f {}/none.yaml", folder.path().display()),
        "lint".to_owned(),
    ] {
        desk.run(&line).await;
    }
    let sarif = desk
        .call(&format!(
            "lint -f {} -o sarif",
            folder.at("bad.yaml").display()
        ))
        .await;
    let log: serde_json::Value = serde_json::from_str(&sarif.out).unwrap();
    assert_eq!((log["version"].as_str(), sarif.code), (Some("2.1.0"), 1));
    world.create::<AnalysisTemplate>(a_template()).await;
    desk.run(&format!("lint -f {good} --live")).await;
    let text = desk
        .transcript()
        .replace(folder.path().to_str().unwrap(), "<folder>");
    insta::assert_snapshot!(text);
}

#[tokio::test(start_paused = true)]
async fn there_is_a_version_and_no_dashboard_yet() {
    let world = World::without_sources().await;
    let mut argo = Desk::new(&world);
    argo.run_all(&["version --short", "dashboard"]).await;
    let full = argo.call("version").await.out;
    let names: Vec<&str> = full
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let expected = [
        "kubectl-argo-rollouts",
        "  BuildDate",
        "  GitCommit",
        "  GitTreeState",
        "  GoVersion",
        "  Compiler",
        "  Platform",
    ];
    assert_eq!(names, expected);
    let mut ours = Desk::with(&world, Program::Plugin);
    ours.run("dashboard -p 8000").await;
    insta::assert_snapshot!(format!("{}{}", argo.transcript(), ours.transcript()));
}

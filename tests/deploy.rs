//! What is in `deploy/` fits the program: its configurations are accepted, and its Pods are as confined as they say.
// A panic is how a test fails, and the files are what is tested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "deploy/pod.rs"]
mod pod;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use scatter::config::{self, Config};
use serde::Deserialize as _;
use serde_yaml_ng::{Deserializer, Value};
use support::{not_run, root, tool};

/// Kubo's RPC API. Whoever reaches it owns that Kubo.
const RPC: u64 = 5001;

fn deploy(path: &str) -> PathBuf {
    root().join("deploy").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap()
}

/// The documents of a YAML text, aliases and merge keys resolved.
fn documents(text: &str) -> Vec<Value> {
    let parsed = Deserializer::from_str(text).map(|document| {
        let mut value = Value::deserialize(document).unwrap();
        value.apply_merge().unwrap();
        value
    });
    parsed.collect()
}

/// The mixes of roles that there is an overlay for.
fn overlays() -> Vec<String> {
    let all = fs::read_dir(deploy("kubernetes/overlays")).unwrap();
    let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["all", "consortium", "embedded", "hoster", "validator"]);
    names
}

fn load(path: &Path) -> Config {
    Config::load(Some(path), []).unwrap_or_else(|mistakes| panic!("{}: {mistakes}", path.display()))
}

/// Every set of documents that somebody may apply: the plain ones always, those of overlays where something renders them.
fn applied() -> Vec<(String, Vec<Value>)> {
    let files = ["statefulset", "services", "network-policy", "disruption-budget"];
    let base = files.iter().flat_map(|file| documents(&text(&format!("kubernetes/base/{file}.yaml"))));
    let mut all = vec![
        ("pod.yaml".to_owned(), documents(&text("pod.yaml"))),
        ("kubernetes/base".to_owned(), base.collect()),
    ];
    let Some((program, args)) = tool("kustomize")
        .map(|path| (path, ["build"]))
        .or_else(|| tool("kubectl").map(|path| (path, ["kustomize"])))
    else {
        not_run("kustomize", "tools/install kustomize");
        return all;
    };
    for overlay in overlays() {
        let path = format!("kubernetes/overlays/{overlay}");
        let output = Command::new(&program).args(args).arg(deploy(&path)).output().unwrap();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        all.push((path, documents(&String::from_utf8(output.stdout).unwrap())));
    }
    all
}

/// The Pod's `spec` in a set of documents.
fn pod(documents: &[Value]) -> &Value {
    let mut pods = documents.iter().filter_map(|document| match document["kind"].as_str()? {
        "Pod" => Some(&document["spec"]),
        "StatefulSet" => Some(&document["spec"]["template"]["spec"]),
        _ => None,
    });
    pods.next().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["initContainers"]).iter().chain(list(&pod["containers"]))
}

fn has_kubo(pod: &Value) -> bool {
    containers(pod).any(|container| container["name"] == "kubo")
}

/// Kubo's `Internal.ShutdownTimeout`, as the Pod's script sets it.
fn kubos_end() -> Duration {
    let script = text("kubernetes/base/kubo-init.sh");
    let (_, value) = script.split_once("Internal.ShutdownTimeout '\"").unwrap();
    config::duration(value.split_once('"').unwrap().0).unwrap()
}

#[test]
fn every_configuration_is_accepted_and_has_the_roles_that_it_is_named_after() {
    for name in overlays() {
        let config = load(&deploy(&format!("kubernetes/overlays/{name}/scatter.toml")));
        let roles = config.roles;
        let hosts = matches!(name.as_str(), "hoster" | "embedded" | "all");
        assert_eq!((roles.hoster, roles.firewall), (hosts, hosts), "{name}");
        assert_eq!(roles.validator, matches!(name.as_str(), "validator" | "all"), "{name}");
        assert_eq!(roles.consortium, matches!(name.as_str(), "consortium" | "all"), "{name}");
        assert_eq!(
            config.node.data_dir,
            Path::new("/data/node"),
            "{name}: the volume's root is the platform's"
        );
        assert!(config.status.listen.ip().is_loopback(), "{name}: probes ask through the socket");
    }
    load(&deploy("kubernetes/base/scatter.toml"));
}

#[test]
fn the_single_pod_runs_what_the_hosters_overlay_runs() {
    let documents = documents(&text("pod.yaml"));
    let data = |name: &str, file: &str| {
        let map = documents.iter().find(|document| document["metadata"]["name"] == name).unwrap();
        map["data"][file].as_str().unwrap().to_owned()
    };
    assert_eq!(data("scatter-config", "scatter.toml"), text("kubernetes/overlays/hoster/scatter.toml"));
    assert_eq!(data("scatter-kubo-init", "kubo-init.sh"), text("kubernetes/base/kubo-init.sh"));
}

#[test]
fn every_pod_is_confined() {
    for (name, documents) in applied() {
        let pod = pod(&documents);
        assert_eq!(
            pod["enableServiceLinks"], false,
            "{name}: SCATTER_… variables of Services look like ours"
        );
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert!(pod["securityContext"]["fsGroup"].is_u64(), "{name}: volumes can be written");
        for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[namespace].is_null(), "{name}: {namespace}");
        }
        for volume in list(&pod["volumes"]) {
            assert!(volume["hostPath"].is_null(), "{name}: {volume:?}");
        }
        for container in containers(pod) {
            let (name, context) = (format!("{name}: {:?}", container["name"]), &container["securityContext"]);
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(list(&context["capabilities"]["drop"]), ["ALL"], "{name}");
            assert!(context["privileged"].is_null() && context["capabilities"]["add"].is_null(), "{name}");
            assert_ne!(context["runAsUser"], 0, "{name}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{name}");
        }
    }
}

#[test]
fn kubos_rpc_api_is_reached_from_inside_the_pod_alone() {
    let script = text("kubernetes/base/kubo-init.sh");
    assert!(script.contains(&format!("\nipfs config Addresses.API /ip4/127.0.0.1/tcp/{RPC}\n")));
    for (name, documents) in applied() {
        for document in documents.iter().filter(|document| document["kind"] == "Service") {
            for port in list(&document["spec"]["ports"]) {
                assert_ne!(port["port"], RPC, "{name}");
                assert!(port["targetPort"].is_string(), "{name}: a number may be any port: {port:?}");
            }
        }
        for document in documents.iter().filter(|document| document["kind"] == "NetworkPolicy") {
            for port in list(&document["spec"]["ingress"]).iter().flat_map(|rule| list(&rule["ports"])) {
                assert!(port["port"] == 4001 || port["port"] == 8480, "{name}: {port:?}");
                assert!(port["endPort"].is_null(), "{name}");
            }
        }
        for container in containers(pod(&documents)) {
            for port in list(&container["ports"]) {
                assert_ne!(port["containerPort"], RPC, "{name}");
            }
            // The script counts only where it is run.
            if container["name"] == "kubo" {
                let mounts = list(&container["volumeMounts"]);
                let init = mounts.iter().find(|mount| mount["mountPath"] == "/container-init.d").unwrap();
                assert_eq!(init["name"], "kubo-init", "{name}");
            }
        }
    }
}

#[test]
fn the_platform_waits_for_the_drain_and_then_for_kubo() {
    let drain = load(&deploy("kubernetes/overlays/hoster/scatter.toml")).supervision.drain;
    for (name, documents) in applied() {
        let pod = pod(&documents);
        let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
        let kubo = containers(pod).find(|container| container["name"] == "kubo");
        let needed = match kubo {
            // A sidecar is told to end when the node has.
            Some(kubo) if kubo["restartPolicy"] == "Always" => drain + kubos_end(),
            Some(_) => drain.max(kubos_end()),
            None => drain,
        };
        assert!(grace > needed, "{name}: {grace:?} for {needed:?}");
    }
    let unit = text("scatter.service");
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(Duration::from_secs(stop.parse().unwrap()) > drain);
}

#[test]
fn a_node_with_its_own_ipfs_has_no_kubo_beside_it_and_others_do() {
    for (name, documents) in applied() {
        let overlay = name.strip_prefix("kubernetes/overlays/");
        let alone = matches!(overlay, Some("embedded" | "validator"));
        assert_eq!(has_kubo(pod(&documents)), !alone, "{name}");
        if let Some(overlay) = overlay {
            let config = load(&deploy(&format!("kubernetes/overlays/{overlay}/scatter.toml")));
            assert_eq!(matches!(config.ipfs.backend, config::Backend::Kubo(_)), !alone, "{name}");
            let set = documents.iter().find(|document| document["kind"] == "StatefulSet").unwrap();
            let claims = list(&set["spec"]["volumeClaimTemplates"]).len();
            assert_eq!(claims, if alone { 1 } else { 2 }, "{name}: a claim for nobody costs money");
        }
    }
}

#[test]
fn the_images_are_those_of_this_version() {
    let ours = format!("scatter:{}", env!("CARGO_PKG_VERSION"));
    for (name, documents) in applied().into_iter().filter(|(name, _)| name != "kubernetes/base") {
        for container in containers(pod(&documents)) {
            let image = container["image"].as_str().unwrap();
            assert!(image == ours || image == "ipfs/kubo:v0.41.0", "{name}: {image}");
        }
    }
    let compose = &documents(&text("compose.yaml"))[0];
    assert_eq!(compose["services"]["node"]["image"], ours.as_str());
}

#[test]
fn the_compose_file_confines_both_and_opens_no_port_but_two() {
    let compose = &documents(&text("compose.yaml"))[0];
    let drain = load(&deploy("kubernetes/overlays/hoster/scatter.toml")).supervision.drain;
    for (name, least) in [("kubo", kubos_end()), ("node", drain)] {
        let service = &compose["services"][name];
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(list(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(list(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(!service["user"].as_str().unwrap().starts_with("0"), "{name}");
        assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
        let grace = config::duration(service["stop_grace_period"].as_str().unwrap()).unwrap();
        assert!(grace > least, "{name}: {grace:?} for {least:?}");
    }
    assert_eq!(compose["services"]["node"]["network_mode"], "service:kubo");
    let ports = list(&compose["services"]["kubo"]["ports"]);
    assert_eq!(ports, ["4001:4001/tcp", "4001:4001/udp", "8480:8480/tcp"]);
    for volume in ["kubernetes/overlays/hoster/scatter.toml", "kubernetes/base/kubo-init.sh"] {
        assert!(text("compose.yaml").contains(&format!("- ./{volume}:")) && deploy(volume).is_file());
    }
}

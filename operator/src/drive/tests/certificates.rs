//! Certificates against the memory twins: issued, renewed, rotated, named by the user; broken off after each call.

use std::cell::Cell;

use k8s_openapi::api::core::v1::Pod;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::certificates::Certificate;
use crate::cluster::get_as;
use crate::reach::Trust;

thread_local! {
    /// The time. Unit: seconds.
    static NOW: Cell<i64> = const { Cell::new(0) };
}

fn set_now(seconds: i64) {
    NOW.with(|now| now.set(seconds));
}

fn issued_by_us() -> Value {
    json!({"mode": "cluster", "redkite": {"certificates": {"clients": {}, "nodes": {}, "overlapHours": 0}}})
}

fn rotated(word: &str) -> Value {
    let mut spec = issued_by_us();
    spec["redkite"]["certificates"]["rotation"] = json!(word);
    spec
}

struct World {
    cluster: Arc<MemoryCluster>,
    reach: Arc<MemoryReach>,
}

impl World {
    fn new(spec: Value) -> Self {
        set_now(0);
        Self { cluster: cluster_with(spec), reach: Arc::default() }
    }

    fn driver(&self) -> Driver {
        Driver {
            reach: Arc::clone(&self.reach) as Arc<dyn Reach>,
            now: || Timestamp::from_second(NOW.with(Cell::get)).unwrap(),
            ..driver(&self.cluster)
        }
    }

    /// Reconciles with as many tries as it takes, restarting the operator after each failure; returns their number.
    async fn persist(&self) -> usize {
        let mut failures = 0;
        for _ in 0..6 {
            if self.driver().reconcile(&place()).await.is_err() {
                failures += 1;
                self.cluster.mend();
            }
        }
        failures
    }

    /// A proxy that reads the Secrets as they are at each moment, or as they were at its start.
    fn start_pod(&self, name: &str, ip: &str, follows: bool) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "ns", "labels": {"app.kubernetes.io/instance": "db",
                "app.kubernetes.io/name": "milvus", "milvus.io/service": "true"}},
            "spec": {"nodeName": "n1", "containers": []}, "status": {"phase": "Running", "podIP": ip}});
        self.cluster.put(&ApiResource::erase::<Pod>(&()), from_value(pod).unwrap());
        for (secret, port) in [("db-client-tls", 19530), ("db-node-tls", 19529)] {
            let cluster = Arc::clone(&self.cluster);
            let (shown, trusted) = files(&cluster, secret);
            self.reach.speak(&format!("{ip}:{port}"), move |caller| {
                let (shown, trusted) = match follows {
                    true => files(&cluster, secret),
                    false => (shown.clone(), trusted.clone()),
                };
                takes(&trusted, caller).map(|()| certificates(&shown)[0].to_vec())
            });
        }
    }

    fn said(&self) -> String {
        let (state, message) = said(&self.cluster, "CertificatesReady");
        format!("{state}: {message}")
    }

    fn told(&self) -> Vec<String> {
        let told = self.cluster.notes().into_iter().filter(|note| note.message.contains("auth"));
        told.map(|note| note.reason).collect()
    }

    fn put_secret(&self, name: &str, data: Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "ns"}, "data": data});
        self.cluster.put(&ApiResource::erase::<Secret>(&()), from_value(secret).unwrap());
    }

    async fn secret(&self, name: &str) -> Secret {
        get_as(self.cluster.as_ref(), &Place::new("ns", name)).await.unwrap().unwrap()
    }
}

/// Certificate and authorities of a Secret.
fn files(cluster: &MemoryCluster, secret: &str) -> (String, String) {
    let object = cluster.objects()[&("Secret".to_owned(), Place::new("ns", secret))].clone();
    let secret: Secret = serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap();
    let data = secret.data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    (text("tls.crt"), text("ca.crt"))
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// Whether the pod takes the caller, and the caller what he trusts has to do with it.
fn takes(trusted: &str, caller: &Trust) -> Result<(), String> {
    let Some((identity, _)) = &caller.identity else { return Ok(()) };
    let issuer = Certificate::of_pem(identity.as_bytes()).unwrap().issuer;
    let known = certificates(trusted);
    match known.iter().any(|one| Certificate::of_der(one).unwrap().subject == issuer) {
        true => Ok(()),
        false => Err("unknown authority".to_owned()),
    }
}

#[tokio::test]
async fn certificates_are_issued_into_secrets_that_only_pods_of_the_object_mount() {
    let world = World::new(issued_by_us());

    world.persist().await;

    assert_eq!(
        world.said(),
        "True CertificatesValid: the certificate of the client port (Secret db-client-tls) holds until \
         1970-04-01T00:00:00Z; the certificate of calls between nodes (Secret db-node-tls) holds until \
         1970-04-01T00:00:00Z; their authority (Secret db-authority) holds until 1972-12-31T00:00:00Z"
    );
    let (shown, trusted) = files(&world.cluster, "db-client-tls");
    assert_eq!(certificates(&trusted).len(), 1);
    assert_eq!(
        Certificate::of_pem(shown.as_bytes()).unwrap().names,
        [
            "127.0.0.1",
            "db-milvus",
            "db-milvus.ns",
            "db-milvus.ns.svc",
            "db-milvus.ns.svc.cluster.local",
            "localhost"
        ]
    );
    let owners = |secret: Secret| secret.metadata.owner_references.unwrap()[0].uid.clone();
    for name in ["db-authority", "db-client-tls", "db-node-tls"] {
        assert_eq!(owners(world.secret(name).await), "uid-db");
    }
}

#[tokio::test]
async fn no_private_key_leaves_its_secret() {
    let world = World::new(issued_by_us());
    world.persist().await;
    edit(&world.cluster, rotated("now"));
    world.persist().await;

    let mut all = content(&world.cluster);
    all.retain(|name, _| !name.starts_with("Secret "));
    let text = format!("{all:?} {:?} {:?}", status(&world.cluster), world.cluster.notes());

    // The key of the tests, as PEM and as PEM in base64.
    assert!(
        !text.contains("MC4CAQAw")
            && !text.contains("PRIVATE KEY")
            && !text.contains("LS0tLS1CRUdJTiBQUklWQVRF"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_no_pod_restarts_for_it() {
    let world = World::new(issued_by_us());
    world.persist().await;
    let pods = |world: &World| {
        let mut all = content(&world.cluster);
        all.retain(|name, _| name.starts_with("Deployment "));
        all
    };
    let before = (pods(&world), files(&world.cluster, "db-node-tls"));

    set_now(59 * 86_400);
    world.persist().await;
    assert_eq!(files(&world.cluster, "db-node-tls"), before.1);

    set_now(61 * 86_400);
    world.persist().await;
    let after = files(&world.cluster, "db-node-tls");

    assert_ne!(after.0, before.1.0);
    assert_eq!((pods(&world), after.1), (before.0, before.1.1));
}

#[tokio::test]
async fn an_authority_is_replaced_once_every_pod_trusts_the_new_one() {
    let world = World::new(issued_by_us());
    world.persist().await;
    world.start_pod("one", "10.0.0.1", true);
    world.start_pod("late", "10.0.0.2", false);
    edit(&world.cluster, rotated("now"));

    set_now(1_000);
    world.persist().await;
    let said = world.said();
    assert!(
        said.starts_with("True RotatingAuthority: ") && said.contains("; pod late does not trust"),
        "{said}"
    );
    assert_eq!(world.driver().reconcile(&place()).await.unwrap(), Next::Missing);

    world.start_pod("late", "10.0.0.2", true);
    world.persist().await;
    for now in [2_000, 3_000] {
        set_now(now);
        world.persist().await;
    }

    let said = world.said();
    assert!(said.starts_with("True CertificatesValid"), "{said}");
    assert_eq!(
        world.told(),
        ["AuthorityFounded", "AuthorityIntroduced", "AuthorityPromoted", "AuthorityRetired"]
    );
    let (shown, trusted) = files(&world.cluster, "db-client-tls");
    let trusted = certificates(&trusted);
    assert_eq!(trusted.len(), 1);
    let authority = Certificate::of_der(&trusted[0]).unwrap();
    assert_eq!(Certificate::of_pem(shown.as_bytes()).unwrap().issuer, authority.subject);
    assert!(authority.subject.contains("19700101T001640Z"), "{}", authority.subject);
}

#[tokio::test]
async fn killed_at_every_step_of_a_rotation_it_converges_to_the_same_secrets() {
    let acts: [(i64, Value); 4] =
        [(0, issued_by_us()), (1_000, rotated("now")), (2_000, rotated("now")), (3_000, rotated("now"))];
    let calm = World::new(issued_by_us());
    let mut expected = Vec::new();
    for (now, spec) in &acts {
        set_now(*now);
        edit(&calm.cluster, spec.clone());
        calm.persist().await;
        calm.start_pod("one", "10.0.0.1", true);
        expected.push(content(&calm.cluster));
    }
    assert_eq!(calm.told().len(), 4);
    let mut kills = 0;
    for at in (0..90).step_by(3) {
        for carried_out in [false, true] {
            let world = World::new(issued_by_us());
            for ((now, spec), expected) in acts.iter().zip(&expected) {
                set_now(*now);
                edit(&world.cluster, spec.clone());
                world.cluster.cut_after(at, carried_out);
                kills += world.persist().await;
                world.cluster.mend();
                world.start_pod("one", "10.0.0.1", true);
                assert_eq!(
                    &content(&world.cluster),
                    expected,
                    "killed after {at} calls, carried out: {carried_out}, second {now}"
                );
            }
        }
    }
    assert!(kills > 60, "only {kills} kills happened");
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_of_the_users_is_named_by_its_field_until_it_is_mended() {
    let world = World::new(json!({"redkite": {"certificates": {"clients": {"secretName": "mine"}}}}));

    world.persist().await;
    let path = "spec.redkite.certificates.clients.secretName: Secret mine";
    assert_eq!(world.said(), format!("False SecretNotExist: {path} does not exist in ns"));
    assert_eq!(said(&world.cluster, "Stalled").0, "True SecretNotExist");

    world.put_secret("mine", json!({"tls.crt": "bm90aGluZw==", "tls.key": ""}));
    world.persist().await;
    assert_eq!(
        world.said(),
        format!("False SecretDecodeError: {path}: tls.crt: there is no certificate in it")
    );

    let other = World::new(issued_by_us());
    other.persist().await;
    world.put_secret("mine", json!(other.secret("db-client-tls").await.data));
    world.persist().await;
    assert_eq!(
        world.said(),
        "True CertificatesValid: the certificate of the client port (Secret mine) holds until 1970-04-01T00:00:00Z"
    );
}

#[tokio::test]
async fn a_secret_of_somebody_else_under_our_name_is_left_as_it_is() {
    let world = World::new(issued_by_us());
    world.put_secret("db-authority", json!({"tls.crt": "YQ=="}));
    let before = world.secret("db-authority").await.data;

    world.persist().await;

    assert_eq!(
        world.said(),
        "False SecretNotOurs: spec.redkite.certificates: Secret db-authority was not made for this object, and is left \
         as it is"
    );
    assert_eq!(world.secret("db-authority").await.data, before);
}

#[tokio::test]
async fn the_operator_calls_an_engine_as_a_node_that_trusts_its_secret() {
    let world = World::new(issued_by_us());
    let found = world.driver().find_database("ns", "db").await.unwrap();
    let proxy = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "proxy-0", "namespace": "ns", "labels": {
            "app.kubernetes.io/instance": "db", "app.kubernetes.io/component": "proxy"}},
        "status": {"podIP": "10.0.0.5", "conditions": [{"type": "Ready", "status": "True"}]}});
    world.cluster.put(&ApiResource::erase::<Pod>(&()), from_value(proxy).unwrap());
    let early = world.driver().door(&found).await.unwrap_err();
    world.persist().await;

    let door = world.driver().door(&found).await.unwrap();

    assert_eq!(
        early.message,
        "spec.redkite.certificates.nodes: Secret db-node-tls has no certificate that can be read"
    );
    let trust = door.trust.unwrap();
    assert_eq!(
        (door.address.as_str(), door.token.as_deref(), trust.name.as_str(), trust.identity.is_some()),
        ("10.0.0.5:19529", Some("drawn"), "nodes.db.ns", true)
    );
    assert!(trust.authorities.contains(&files(&world.cluster, "db-node-tls").1));
}

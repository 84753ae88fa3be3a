//! Defects of the peer's operator that show over several reconciles; those that show in one rendering are in `render`.

use k8s_openapi::api::core::v1::{Pod, Service};

use super::*;

/// What is there without the object itself, and without the claim, which keeps what it was given.
fn made(cluster: &MemoryCluster) -> BTreeMap<String, Value> {
    let mut made = content(cluster);
    made.retain(|name, _| !name.starts_with("Milvus ") && !name.starts_with("PersistentVolumeClaim "));
    made
}

fn deployment(cluster: &MemoryCluster, name: &str) -> DynamicObject {
    cluster.objects()[&("Deployment".to_owned(), Place::new("ns", format!("db-milvus-{name}")))].clone()
}

#[tokio::test]
async fn d6_what_a_spec_takes_back_goes() {
    let proxy = |fields: Value| json!({"mode": "cluster", "components": {"proxy": fields}});
    let global = |fields: Value| json!({"mode": "cluster", "components": fields});
    let container = json!([{"name": "beside", "image": "example/beside:1", "ports": [{"name": "more", "containerPort": 80}]}]);
    let added = [
        global(json!({"podAnnotations": {"a": "b"}})),
        global(json!({"podLabels": {"a": "b"}})),
        global(json!({"env": [{"name": "A", "value": "b"}]})),
        global(
            json!({"volumes": [{"name": "v", "emptyDir": {}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
        ),
        global(json!({"disableMetric": true})),
        global(json!({"runAsNonRoot": true})),
        proxy(json!({"sidecars": container})),
        proxy(json!({"initContainers": container})),
        proxy(json!({"serviceLabels": {"a": "b"}, "serviceAnnotations": {"c": "d"}})),
        proxy(json!({"serviceRestfulPort": 8080})),
        proxy(json!({"ingress": {"hosts": ["db.example"]}})),
        json!({"mode": "cluster", "hookConfig": {"a": "b"}}),
    ];
    let plain = json!({"mode": "cluster"});
    let bare = cluster_with(plain.clone());
    run(&bare).await;

    for spec in added {
        let cluster = cluster_with(spec.clone());
        run(&cluster).await;
        edit(&cluster, plain.clone());
        run(&cluster).await;

        assert_eq!(made(&cluster), made(&bare), "{spec}");
    }
}

#[tokio::test]
async fn d8_an_object_that_is_edited_or_deleted_is_repaired_at_the_next_look() {
    let cluster = cluster_with(json!({"mode": "cluster"}));
    run(&cluster).await;
    let whole = made(&cluster);

    let kinds = [
        (ApiResource::erase::<Service>(&()), "db-milvus"),
        (ApiResource::erase::<Deployment>(&()), "db-milvus-proxy"),
        (ApiResource::erase::<StatefulSet>(&()), "db-etcd"),
    ];
    for (kind, name) in kinds {
        cluster.begin_delete(&kind, &Place::new("ns", name));
        settle(&driver(&cluster)).await;

        assert_eq!(made(&cluster), whole, "{name} was deleted");
    }
    let mut edited = deployment(&cluster, "proxy");
    edited.data["spec"]["template"]["spec"]["containers"][0]["image"] = json!("example/wrong:1");
    cluster.put(&ApiResource::erase::<Deployment>(&()), edited);
    run(&cluster).await;
    assert_eq!(made(&cluster), whole);
}

#[tokio::test]
async fn d10_a_new_spec_is_not_called_updated_by_the_status_of_the_old_one() {
    let cluster = cluster_with(json!({}));
    run(&cluster).await;
    assert_eq!(said(&cluster, "MilvusUpdated").0, "True MilvusComponentsUpdated");

    edit(&cluster, json!({"components": {"env": [{"name": "A", "value": "b"}]}}));
    settle(&driver(&cluster)).await;

    assert_eq!(said(&cluster, "MilvusUpdated").0, "False MilvusComponentsUpdating");
}

#[tokio::test]
async fn d11_stopping_and_stopped_are_told_apart() {
    let cluster = cluster_with(json!({}));
    run(&cluster).await;

    edit(&cluster, json!({"components": {"standalone": {"replicas": 0}}}));
    settle(&driver(&cluster)).await;
    assert_eq!(
        said(&cluster, "MilvusReady"),
        ("False MilvusStopping".to_owned(), "waiting for the pods to end".to_owned())
    );
    run(&cluster).await;
    assert_eq!(
        said(&cluster, "MilvusReady"),
        ("False MilvusStopped".to_owned(), "no pods run, as the spec asks for".to_owned())
    );
}

#[tokio::test]
async fn d12_the_endpoint_is_the_name_or_address_of_the_balancer_with_the_port_of_the_spec() {
    let spec = json!({"components": {"standalone": {"serviceType": "LoadBalancer", "port": 19531,
        "ingress": {"hosts": ["db.example"]}}}});
    let cluster = cluster_with(spec);
    run(&cluster).await;
    assert_eq!(status(&cluster).endpoint, None);

    for (ingress, endpoint) in [
        (json!({"hostname": "lb.example"}), "lb.example:19531"),
        (json!({"ip": "192.0.2.1"}), "192.0.2.1:19531"),
    ] {
        let mut service = cluster.objects()[&("Service".to_owned(), Place::new("ns", "db-milvus"))].clone();
        service.data["status"] = json!({"loadBalancer": {"ingress": [ingress]}});
        cluster.put(&ApiResource::erase::<Service>(&()), service);
        settle(&driver(&cluster)).await;

        assert_eq!(status(&cluster).endpoint.as_deref(), Some(endpoint));
    }
    let ingress = &made(&cluster)["Ingress ns/db-milvus"];
    let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
    assert_eq!(backend["port"], json!({"number": 19531}));
}

#[tokio::test]
async fn d14_a_spec_that_is_wrong_is_told_without_a_webhook_and_changes_nothing() {
    let cluster = cluster_with(json!({"mode": "cluster"}));
    run(&cluster).await;
    let before = made(&cluster);

    for (spec, path) in [
        (json!({"components": {"volumes": ["no volume"]}}), "spec.components.volumes[0]"),
        (json!({"components": {"probes": {"livenessProbe": 5}}}), "spec.components.probes"),
        (json!({"dependencies": {"etcd": {"external": true}}}), "spec.dependencies.etcd.endpoints"),
        (
            json!({"components": {"proxy": {"groups": [{"name": "Bad Name", "replicas": 1}]}}}),
            "spec.components.proxy.groups[0].name",
        ),
    ] {
        let mut spec = spec;
        spec["mode"] = json!("cluster");
        edit(&cluster, spec);
        let next = settle(&driver(&cluster)).await;

        assert_eq!(next, Next::Waiting);
        assert_eq!(made(&cluster), before, "{path}");
        let (word, message) = said(&cluster, "SpecAccepted");
        assert_eq!(word, "False InvalidField");
        assert!(message.starts_with(path), "{message} does not name {path}");
    }
}

#[tokio::test]
async fn d16_pods_that_hold_data_leave_one_at_a_time() {
    let of = |replicas: i32| json!({"mode": "cluster", "components": {"queryNode": {"replicas": replicas}}});
    let cluster = cluster_with(of(3));
    run(&cluster).await;
    let wanted = |cluster: &MemoryCluster| deployment(cluster, "querynode").data["spec"]["replicas"].clone();
    let labels = deployment(&cluster, "querynode").data["spec"]["selector"]["matchLabels"].clone();
    let pods = ApiResource::erase::<Pod>(&());
    let leaving = Place::new("ns", "db-milvus-querynode-x");

    edit(&cluster, of(1));
    assert_eq!(driver(&cluster).reconcile(&place()).await.unwrap(), Next::Missing);
    assert_eq!(wanted(&cluster), 2);
    assert_eq!(said(&cluster, "MilvusUpdated").0, "False MilvusComponentsUpdating");
    assert!(said(&cluster, "MilvusUpdated").1.contains("querynode goes to 2 pods first"));

    // The Deployment is done at once, while the pod is still handing over.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": leaving.name, "namespace": "ns",
        "labels": labels, "finalizers": ["kubelet"]}});
    cluster.put(&pods, from_value(pod).unwrap());
    cluster.begin_delete(&pods, &leaving);
    roll_out(&cluster);
    driver(&cluster).reconcile(&place()).await.unwrap();
    assert_eq!(wanted(&cluster), 2);

    let kept = cluster.objects()[&("Pod".to_owned(), leaving.clone())].metadata.resource_version.clone();
    cluster.set_finalizers(&pods, &leaving, &kept.unwrap(), &[]).await.unwrap();
    run(&cluster).await;
    assert_eq!(wanted(&cluster), 1);
    assert_eq!(said(&cluster, "MilvusUpdated").0, "True MilvusComponentsUpdated");
}

#[tokio::test]
async fn d18_new_limits_reach_a_workload_whose_pods_fit_nowhere() {
    let limits = |cpu: i32| json!({"mode": "cluster", "components": {"queryNode": {"resources": {"limits": {"cpu": cpu}}}}});
    let cluster = cluster_with(limits(64));
    settle(&driver(&cluster)).await;
    let asked = |cluster: &MemoryCluster| {
        let found = deployment(cluster, "querynode").data["spec"].clone();
        (
            found["replicas"].clone(),
            found["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"].clone(),
        )
    };
    assert_eq!(asked(&cluster), (json!(1), json!("64")));

    // No pod of it has ever served.
    edit(&cluster, limits(1));
    settle(&driver(&cluster)).await;

    assert_eq!(asked(&cluster), (json!(1), json!("1")));
}

#[tokio::test]
async fn d19_a_database_without_a_proxy_that_serves_says_that_it_is_not_ready() {
    let cluster = cluster_with(json!({"mode": "cluster"}));
    run(&cluster).await;
    let mut proxy = deployment(&cluster, "proxy");
    proxy.data["status"]["readyReplicas"] = json!(0);
    cluster.put(&ApiResource::erase::<Deployment>(&()), proxy);

    settle(&driver(&cluster)).await;

    let (word, message) = said(&cluster, "MilvusReady");
    assert_eq!(word, "False MilvusComponentNotHealthy");
    assert!(message.contains("proxy 0 of 1"), "{message}");
}

#[tokio::test]
async fn a_secret_that_changes_is_seen_and_its_readers_are_restarted_once() {
    let spec = json!({"dependencies": {"storage": {
        "external": true, "type": "S3", "endpoint": "s3.example:443", "secretRef": "keys"}}});
    let cluster = cluster_with(spec);
    let keys = |value: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "ns"},
            "data": {"accesskey": "YQ==", "secretkey": value}});
        cluster.put(&ApiResource::erase::<Secret>(&()), from_value(secret).unwrap());
    };
    keys("b25l");
    assert_eq!(run(&cluster).await, Next::Relying);
    let generation = || deployment(&cluster, "standalone").metadata.generation;
    let before = generation();

    run(&cluster).await;
    assert_eq!(generation(), before);
    keys("dHdv");
    run(&cluster).await;

    assert_eq!(generation(), before.map(|generation| generation + 1));
}

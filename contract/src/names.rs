//! Ports, paths, labels, annotations and metric names that more than one program relies on.

/// gRPC and REST of the public API.
pub const API_PORT: u16 = 19530;
/// `/healthz`, `/metrics` and read-only pages.
pub const METRICS_PORT: u16 = 9091;
/// Calls between duties, and the admin API.
pub const INTERNAL_PORT: u16 = 19529;

/// Path of the health check on [`METRICS_PORT`]: 200 while the node serves what is assigned to it.
pub const HEALTH_PATH: &str = "/healthz";
/// Path on [`METRICS_PORT`] that answers 200 for as long as the process runs at all.
pub const LIVE_PATH: &str = "/livez";
/// Path of the Prometheus metrics on [`METRICS_PORT`].
pub const METRICS_PATH: &str = "/metrics";

/// Folder in the container where the settings of the operator are mounted.
pub const CONFIG_DIR: &str = "/milvus/configs";
/// Key of the settings in the ConfigMap, and the name of the file under [`CONFIG_DIR`].
pub const CONFIG_KEY: &str = "user.yaml";
/// Key of the hook settings in the ConfigMap, and the name of the file under [`CONFIG_DIR`].
pub const HOOK_KEY: &str = "hook.yaml";
/// Folder in the container that holds the data of a standalone engine.
pub const DATA_DIR: &str = "/var/lib/milvus";
/// Folder in the container with the token of calls between nodes.
pub const ADMIN_DIR: &str = "/milvus/admin";
/// Key of that token in its Secret, and the name of the file under [`ADMIN_DIR`].
pub const ADMIN_TOKEN_KEY: &str = "token";
/// Folder in the container with the authority of Kafka's certificates.
pub const KAFKA_DIR: &str = "/milvus/kafka";
/// The engine's binary in its image; it is the image's entry point.
pub const ENGINE_BINARY: &str = "/redkite/bin/redkite";
/// User and group the images run as; no process of ours runs as root.
pub const IMAGE_USER: i64 = 10001;

/// Environment: access key of the object storage.
pub const ENV_ACCESS_KEY: &str = "MINIO_ACCESS_KEY_ID";
/// Environment: secret key of the object storage.
pub const ENV_SECRET_KEY: &str = "MINIO_SECRET_ACCESS_KEY";
/// Key of the access key in a storage Secret.
pub const SECRET_ACCESS_KEY: &str = "accesskey";
/// Key of the secret key in a storage Secret.
pub const SECRET_SECRET_KEY: &str = "secretkey";

/// Environment of a query node: the label that names its resource group in the engine.
pub const ENV_NODE_GROUP: &str = "MILVUS_SERVER_LABEL_RESOURCE_GROUP";
/// Environment of a node: the label that names its zone.
pub const ENV_NODE_ZONE: &str = "MILVUS_SERVER_LABEL_ZONE";
/// The resource group of the engine that every query node without another one is in.
pub const DEFAULT_RESOURCE_GROUP: &str = "__default_resource_group";

/// Environment: as whom to log in to Kafka.
pub const ENV_KAFKA_USER: &str = "KAFKA_SASLUSERNAME";
/// Environment: the password for Kafka.
pub const ENV_KAFKA_PASSWORD: &str = "KAFKA_SASLPASSWORD";
/// Key of the user in a Kafka Secret.
pub const SECRET_KAFKA_USER: &str = "username";
/// Key of the password in a Kafka Secret.
pub const SECRET_KAFKA_PASSWORD: &str = "password";
/// Key of the certificate authority in a Kafka Secret; it may be missing.
pub const SECRET_KAFKA_CA: &str = "ca.pem";

/// Label: the `Milvus` object a workload belongs to.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label: the component of a workload.
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label: the product; always [`NAME_VALUE`].
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Label: the kind of operator; always [`MANAGED_BY_VALUE`], so that selectors equal the peer's.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label on pods that the client Service selects.
pub const LABEL_SERVICE: &str = "milvus.io/service";
/// Label on Deployment and pods of a group of a component: the group's name.
pub const LABEL_GROUP: &str = "milvus.io/deployment-group";
/// Label on Deployment and pods of a `MilvusResourceGroup`: the name of that object.
pub const LABEL_RESOURCE_GROUP: &str = "redkite.io/resource-group";
/// Value of [`LABEL_NAME`].
pub const NAME_VALUE: &str = "milvus";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY_VALUE: &str = "milvus-operator";

/// Annotation on a pod template: hash of the settings it was started with.
pub const ANNOTATION_CONFIG_HASH: &str = "checksum/config";
/// Annotation on a pod template: prints of the values that it reads from Secrets at its start alone.
pub const ANNOTATION_SECRETS_HASH: &str = "redkite.io/secrets";
/// Annotation on a `Milvus` object: `"true"` makes the operator leave its objects alone.
pub const ANNOTATION_PAUSE: &str = "milvus.io/pause-reconcile";
/// Annotation on a `Milvus` object: `"true"` reports it as under maintenance in `milvus_status`.
pub const ANNOTATION_MAINTAINING: &str = "milvus.io/maintaining";
/// Annotation on a `Milvus` object: the image to run, whatever the spec and the catalog say.
pub const ANNOTATION_IMAGE: &str = "redkite.io/image";
/// Annotation on a `Milvus` object: `"true"` allows the pods of another operator's release to be replaced by Redkite's.
pub const ANNOTATION_TAKE_OVER: &str = "redkite.io/take-over";
/// Annotation on workloads that Redkite rendered; its absence marks a workload of the peer.
pub const ANNOTATION_RENDERED: &str = "redkite.io/rendered";

/// Finalizer of a `Milvus` object; the peer's, so that objects survive a change of operator.
pub const FINALIZER: &str = "milvus.milvus.io/finalizer";
/// Finalizer of a `MilvusCollection` whose collection is to be dropped with it.
pub const COLLECTION_FINALIZER: &str = "redkite.io/collection";
/// Finalizer of a `MilvusResourceGroup`.
pub const GROUP_FINALIZER: &str = "redkite.io/resource-group";
/// Field manager of everything the operator applies.
pub const FIELD_MANAGER: &str = "redkite-operator";
/// ConfigMap beside the operator that maps upstream images to ours.
pub const IMAGE_CATALOG: &str = "redkite-image-catalog";
/// Lease that one operator of an installation holds.
pub const LEADER_LEASE: &str = "redkite-operator";

/// Gauge of the peer: state of one `Milvus` object, 0 pending to 5 maintaining.
pub const METRIC_STATUS: &str = "milvus_status";
/// Gauge of the peer: number of `Milvus` objects per state.
pub const METRIC_TOTAL: &str = "milvus_total_count";
/// Gauge of the peer: always 1, the version as a label.
pub const METRIC_BUILD: &str = "milvus_operator_build_info";
/// Counter: reconciles by result.
pub const METRIC_RECONCILES: &str = "redkite_operator_reconciles_total";
/// Histogram: how long a reconcile took.
pub const METRIC_RECONCILE_SECONDS: &str = "redkite_operator_reconcile_seconds";
/// Gauge: pods that autoscaling asks for, by workload.
pub const METRIC_SCALING_REPLICAS: &str = "redkite_operator_autoscaling_replicas";
/// Gauge: 1 while the load of a workload that follows it can be read, else 0.
pub const METRIC_SCALING_ACTIVE: &str = "redkite_operator_autoscaling_active";
/// Counter: changes of numbers of pods by autoscaling, by reason.
pub const METRIC_SCALING_CHANGES: &str = "redkite_operator_autoscaling_changes_total";
/// Gauge: 1 while this copy holds the lease.
pub const METRIC_LEADER: &str = "redkite_operator_leader";

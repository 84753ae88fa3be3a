{{/* Values that would be silently lost are refused, with what to write instead. */}}
{{- define "milvus.refuse" -}}
{{- $known := list "nameOverride" "fullnameOverride" "global" "cluster" "image" "nodeSelector" "affinity" "tolerations"
  "topologySpreadConstraints" "resources" "extraEnv" "labels" "annotations" "securityContext" "serviceAccount" "livenessProbe"
  "readinessProbe" "standalone" "proxy" "mixCoordinator" "mixCoord" "rootCoordinator" "rootCoord" "queryCoordinator" "queryCoord"
  "dataCoordinator" "dataCoord" "indexCoordinator" "indexCoord" "queryNode" "dataNode" "streamingNode" "indexNode" "streaming"
  "service" "ingress" "metrics" "log" "etcd" "externalEtcd" "minio" "externalS3" "externalKafka" "kafka" "pulsar" "pulsarv3"
  "externalPulsar" "woodpecker" "persistence" "autoscaling" "extraConfigFiles" "attu" "tei" }}
{{- $hints := dict
  "backup" "the database does not make backups by itself: run milvus-backup, or snapshots of the bucket"
  "readOnly" "there is no read-only mode: give clients a user without write privileges" }}
{{- range $key, $value := .Values }}
{{- if hasKey $hints $key }}{{ fail (printf "values: %s is not a value of this chart: %s" $key (get $hints $key)) }}{{ end }}
{{- if not (has $key $known) }}
{{- fail (printf "values: %s is not a value of this chart; settings of the engine go under extraConfigFiles.\"user.yaml\"" $key) }}
{{- end }}
{{- end }}
{{- if hasKey (default dict .Values.global) "region" }}
{{- fail "values: global.region is not a value of this chart: the bucket's region is externalS3.region" }}
{{- end }}
{{- range list "attu" "tei" }}
{{- if dig "enabled" false (default dict (get $.Values .)) }}{{ fail (printf "values: %s is not run by this chart: install it beside the database and set %s.enabled=false" . .) }}{{ end }}
{{- end }}
{{- if dig "enabled" false (default dict .Values.externalPulsar) }}
{{- fail "values: externalPulsar: Pulsar is not a log of this database: use externalKafka, or none for the log in the object store" }}
{{- end }}
{{- if and .Values.externalEtcd.enabled (not .Values.externalEtcd.endpoints) }}{{ fail "values: externalEtcd.endpoints is empty" }}{{ end }}
{{- if and .Values.externalS3.enabled (not .Values.externalS3.host) }}{{ fail "values: externalS3.host is empty" }}{{ end }}
{{- if and .Values.externalKafka.enabled (not .Values.externalKafka.brokerList) }}{{ fail "values: externalKafka.brokerList is empty" }}{{ end }}
{{- end }}

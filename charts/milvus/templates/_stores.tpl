{{- define "milvus.storageSecret" -}}
{{- if .Values.externalS3.existingSecret }}{{ .Values.externalS3.existingSecret }}
{{- else if .Values.externalS3.accessKey }}{{ include "milvus.fullname" . }}-s3{{ end }}
{{- end }}

{{- define "milvus.etcd" -}}
{{- if .Values.externalEtcd.enabled }}
{{- toYaml (dict "external" true "endpoints" .Values.externalEtcd.endpoints) }}
{{- else if .Values.cluster.enabled }}
{{- with omit .Values.etcd "enabled" }}{{ toYaml (dict "inCluster" (dict "values" .)) }}{{ end }}
{{- end }}
{{- end }}

{{- define "milvus.storage" -}}
{{- $s3 := .Values.externalS3 }}
{{- if $s3.enabled }}
{{- $made := dict "external" true "type" (ternary "Azure" "S3" (eq $s3.cloudProvider "azure")) }}
{{- $_ := set $made "endpoint" (ternary (printf "%s:%v" $s3.host $s3.port) $s3.host (not (empty $s3.port))) }}
{{- with include "milvus.storageSecret" . }}{{ $_ := set $made "secretRef" . }}{{ end }}
{{- toYaml $made }}
{{- else if .Values.cluster.enabled }}
{{- $values := deepCopy (omit .Values.minio "enabled" "bucketName" "rootPath") }}
{{- if .Values.persistence }}{{ $values = mergeOverwrite (dict "persistence" .Values.persistence) $values }}{{ end }}
{{- if $values }}{{ toYaml (dict "inCluster" (dict "values" $values)) }}{{ end }}
{{- end }}
{{- end }}

{{/* The volume of a standalone, from `standalone.persistence` or the guides' `persistence`. */}}
{{- define "milvus.volume" -}}
{{- $given := default .Values.persistence (default dict .Values.standalone).persistence }}
{{- if $given }}
{{- $claim := mergeOverwrite (pick $given "existingClaim" "storageClass" "size" "accessMode" "accessModes") (default dict $given.persistentVolumeClaim) }}
{{- $spec := dict }}
{{- with $claim.storageClass }}{{ $_ := set $spec "storageClassName" . }}{{ end }}
{{- with $claim.size }}{{ $_ := set $spec "resources" (dict "requests" (dict "storage" .)) }}{{ end }}
{{- with $claim.accessModes }}{{ $_ := set $spec "accessModes" (ternary (list .) . (kindIs "string" .)) }}{{ end }}
{{- with $claim.accessMode }}{{ $_ := set $spec "accessModes" (list .) }}{{ end }}
{{- $volume := dict }}
{{- with $spec }}{{ $_ := set $volume "spec" . }}{{ end }}
{{- with $claim.existingClaim }}{{ $_ := set $volume "existingClaim" . }}{{ end }}
{{- $made := dict "enabled" (dig "enabled" true $given) }}
{{- with $volume }}{{ $_ := set $made "persistentVolumeClaim" . }}{{ end }}
{{- toYaml $made }}
{{- end }}
{{- end }}

{{- define "milvus.stream" -}}
{{- if .Values.externalKafka.enabled }}kafka
{{- else if dig "enabled" false (default dict .Values.kafka) }}kafka
{{- else if or (dig "enabled" false (default dict .Values.pulsar)) (dig "enabled" false (default dict .Values.pulsarv3)) }}pulsar
{{- else if not .Values.cluster.enabled }}{{ default "woodpecker" (default dict .Values.standalone).messageQueue }}
{{- else }}woodpecker{{ end }}
{{- end }}

{{- define "milvus.dependencies" -}}
{{- $stream := include "milvus.stream" . | trim }}
{{- $made := dict "msgStreamType" $stream }}
{{- with include "milvus.etcd" . | fromYaml }}{{ $_ := set $made "etcd" . }}{{ end }}
{{- with include "milvus.storage" . | fromYaml }}{{ $_ := set $made "storage" . }}{{ end }}
{{- if .Values.externalKafka.enabled }}
{{- $brokers := .Values.externalKafka.brokerList }}
{{- $kafka := dict "external" true "brokerList" (ternary (splitList "," (toString $brokers)) $brokers (kindIs "string" $brokers)) }}
{{- with .Values.externalKafka.existingSecret }}{{ $_ := set $kafka "secretRef" . }}{{ end }}
{{- $_ := set $made "kafka" $kafka }}
{{- else if eq $stream "pulsar" }}
{{- with mergeOverwrite (omit (deepCopy (default dict .Values.pulsarv3)) "enabled") (omit (deepCopy (default dict .Values.pulsar)) "enabled") }}
{{- $_ := set $made "pulsar" (dict "inCluster" (dict "values" .)) }}{{ end }}
{{- else if eq $stream "kafka" }}
{{- with omit .Values.kafka "enabled" }}{{ $_ := set $made "kafka" (dict "inCluster" (dict "values" .)) }}{{ end }}
{{- end }}
{{- if not .Values.cluster.enabled }}
{{- with include "milvus.volume" . | fromYaml }}
{{- $_ := set $made (ternary $stream "woodpecker" (has $stream (list "rocksmq" "natsmq"))) (dict "persistence" .) }}
{{- end }}
{{- end }}
{{- toYaml $made }}
{{- end }}

{{/* Settings of the engine: from values that have a place of their own, then from the files, which win. */}}
{{- define "milvus.config" -}}
{{- $made := dict "log" (pick .Values.log "level" "format") }}
{{- $bucket := pick .Values.minio "bucketName" "rootPath" }}
{{- if .Values.externalS3.enabled }}
{{- $bucket = dict "useSSL" .Values.externalS3.useSSL "cloudProvider" .Values.externalS3.cloudProvider }}
{{- range $key := list "bucketName" "rootPath" "region" "iamEndpoint" }}
{{- with get $.Values.externalS3 $key }}{{ $_ := set $bucket $key . }}{{ end }}
{{- end }}
{{- if .Values.externalS3.useIAM }}{{ $_ := set $bucket "useIAM" true }}{{ end }}
{{- end }}
{{- if $bucket }}{{ $_ := set $made "minio" $bucket }}{{ end }}
{{- range $file := list "milvus.yaml" "user.yaml" }}
{{- with get $.Values.extraConfigFiles $file }}
{{- $read := fromYaml . }}
{{- if hasKey $read "Error" }}{{ fail (printf "values: extraConfigFiles.%q is not YAML: %s" $file $read.Error) }}{{ end }}
{{- $made = mergeOverwrite $made $read }}
{{- end }}
{{- end }}
{{- range $file, $text := .Values.extraConfigFiles }}
{{- if not (has $file (list "milvus.yaml" "user.yaml" "hook.yaml")) }}
{{- fail (printf "values: extraConfigFiles.%q is read by nobody: the engine reads user.yaml, milvus.yaml and hook.yaml" $file) }}
{{- end }}
{{- end }}
{{- toYaml $made }}
{{- end }}

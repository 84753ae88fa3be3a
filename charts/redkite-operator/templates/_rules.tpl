{{- /* What the operator does to the objects it looks after. Every verb has its reason beside it. */}}
{{- define "redkite.rules" -}}
- apiGroups: [milvus.io]
  resources: [milvuses]
  verbs:
    - get    # read the object that is reconciled
    - list   # find the objects at the start
    - watch  # learn of changes
    - patch  # hold and release the object by its finalizer; the spec is never written
- apiGroups: [milvus.io]
  resources: [milvuses/status]
  verbs:
    - patch  # report conditions and endpoint by server-side apply
- apiGroups: [milvus.io]
  resources: [milvuses/finalizers]
  verbs:
    - update # let owned objects block the deletion of their owner
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - get    # see whether a workload of that name is somebody else's
    - list   # find ours at the start
    - watch  # learn of progress and drift
    - create # make the workload
    - patch  # change it by server-side apply
    - delete # end the pods before the data goes
- apiGroups: [""]
  resources: [services]
  verbs:
    - list   # find ours at the start
    - watch  # learn of drift and of the load balancer's address
    - create # make the client Service
    - patch  # change it by server-side apply
- apiGroups: [""]
  resources: [configmaps]
  verbs:
    - list   # find ours at the start
    - watch  # learn of drift
    - create # make the settings
    - patch  # change them by server-side apply
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs:
    - get    # see whether one that is no longer wanted is ours
    - list   # find ours at the start
    - watch  # learn of drift
    - create # make the pods' account, which has no rights
    - patch  # change it by server-side apply
    - delete # remove it when the spec names another
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs:
    - get    # keep what cannot change in a claim
    - list   # find ours at the start
    - watch  # learn of drift
    - create # make the data volume
    - patch  # enlarge it
    - delete # remove it where the deletion policy says so
- apiGroups: [""]
  resources: [secrets]
  verbs:
    - get    # see by name whether the storage's Secret has its keys; never listed or watched
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs:
    - get    # see whether one that is no longer wanted is ours
    - list   # find ours at the start
    - watch  # learn of drift and of its address
    - create # make the Ingress
    - patch  # change it by server-side apply
    - delete # remove it when the spec has none
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs:
    - create # publish changes of state
    - patch  # count an event that repeats
{{- end }}

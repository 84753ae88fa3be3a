{{- /* What the operator does to the objects it looks after. Every verb has its reason beside it. */}}
{{- define "redkite.rules" -}}
- apiGroups: [milvus.io]
  resources: [milvuses]
  verbs:
    - get    # read the object that is reconciled
    - list   # find the objects at the start
    - watch  # learn of changes
    - patch  # hold and release the object by its finalizer; a spec is written only
           # where a MilvusCluster owns it or a MilvusUpgrade orders another image
    - create # make the Milvus that carries a MilvusCluster out
- apiGroups: [milvus.io]
  resources: [milvuses/status]
  verbs:
    - patch  # report conditions and endpoint by server-side apply
- apiGroups: [milvus.io]
  resources: [milvuses/finalizers]
  verbs:
    - update # let owned objects block the deletion of their owner
- apiGroups: [milvus.io]
  resources: [milvusclusters]
  verbs:
    - get    # read the object that is reconciled
    - list   # find the objects at the start
    - watch  # learn of changes
    - patch  # take the peer's finalizer away
- apiGroups: [milvus.io]
  resources: [milvusclusters/status]
  verbs:
    - patch  # pass on what its Milvus reports
- apiGroups: [milvus.io]
  resources: [milvusclusters/finalizers]
  verbs:
    - update # let its Milvus block its deletion
- apiGroups: [milvus.io]
  resources: [milvusupgrades]
  verbs:
    - get    # read the order that is carried out
    - list   # find the orders at the start
    - watch  # learn of new ones
- apiGroups: [milvus.io]
  resources: [milvusupgrades/status]
  verbs:
    - patch  # say how far it is
- apiGroups: [redkite.io]
  resources: [milvusresourcegroups]
  verbs:
    - get    # read the object that is reconciled
    - list   # find the groups at the start, and those of a database
    - watch  # learn of changes
    - patch  # hold and release the object by its finalizer; a spec is never written
- apiGroups: [redkite.io]
  resources: [milvusresourcegroups/status]
  verbs:
    - patch  # report members, collections and conditions
- apiGroups: [redkite.io]
  resources: [milvuscollections]
  verbs:
    - get    # read the object that is reconciled
    - list   # find the objects at the start, and those about the same collection
    - watch  # learn of changes
    - patch  # hold and release the object by its finalizer; a spec is never written
- apiGroups: [redkite.io]
  resources: [milvuscollections/status]
  verbs:
    - patch  # report what the engine has, what was taken in hand, and conditions
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - list   # find the workloads of an object, ours and those that are not
    - watch  # learn of progress and drift
    - create # make a workload
    - patch  # change it by server-side apply
    - get    # see whether one that the spec does not ask for any more is ours, and how far that of a group is
    - delete # remove such a one; end the pods before the data goes
- apiGroups: [apps]
  resources: [statefulsets]
  verbs:
    - get    # see how many members a store has; that cannot change
    - list   # find ours at the start
    - watch  # learn of progress and drift
    - create # make etcd and the S3 server beside a database
    - patch  # change them by server-side apply
    - delete # remove them where the deletion policy says so
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs:
    - get    # see whether one that is no longer wanted is ours
    - list   # find ours at the start
    - watch  # learn of drift
    - create # bound how many pods are evicted at once
    - patch  # change the bound by server-side apply
    - delete # remove it where a single pod is left
- apiGroups: [""]
  resources: [services]
  verbs:
    - get    # see whether a store of that name is somebody else's
    - list   # find ours at the start
    - watch  # learn of drift and of the load balancer's address
    - create # make the client Service, and those of stores
    - patch  # change them by server-side apply
    - delete # remove those of stores where the deletion policy says so
- apiGroups: [""]
  resources: [configmaps]
  verbs:
    - get    # see whether the settings are as they were made
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
    - get    # see by name whether a Secret is there, has its keys, and has changed; never listed or watched
    - create # make the token of calls between nodes, the keys of a store, settings that a spec has in clear text, certificates
    - patch  # change the latter two by server-side apply, by the names that follow from the object's
    - delete # remove them when they are no longer wanted
- apiGroups: [""]
  resources: [pods]
  verbs:
    - list   # say why pods do not start
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs:
    - get    # see whether one that is no longer wanted is ours
    - list   # find ours at the start
    - watch  # learn of drift and of its address
    - create # make the Ingress
    - patch  # change it by server-side apply
    - delete # remove it when the spec has none
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs:
    - get    # see whether one that is no longer wanted is ours
    - list   # find ours at the start
    - watch  # learn of drift
    - create # keep strangers from the pods where a spec asks for it
    - patch  # change it by server-side apply
    - delete # remove it when no spec asks for it
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs:
    - get    # see whether one that is no longer wanted is ours
    - list   # see whether Prometheus's operator is installed
    - create # let Prometheus find the pods, where its operator is installed
    - patch  # change it by server-side apply
    - delete # remove it where a spec disables it
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs:
    - create # publish changes of state
    - patch  # count an event that repeats
{{- end }}

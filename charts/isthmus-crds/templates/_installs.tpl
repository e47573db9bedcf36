{{/*
Whether a definition is for this release to install: `true` or nothing. One that the operator made is the
operator's to keep. One of the Multi-Cluster Services API may be another product's, and stays as it is.
*/}}
{{- define "isthmus-crds.installs" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $shared := hasSuffix ".multicluster.x-k8s.io" $name -}}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- $release := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $found -}}
{{- $keeper := dig "metadata" "labels" "app.kubernetes.io/managed-by" "" $found -}}
{{- $others := and $found $shared (ne $release $root.Release.Name) -}}
{{- $unwanted := and $shared (not $root.Values.mcs.install) -}}
{{- if not (or $unwanted $others (eq $keeper "isthmus")) -}}
true
{{- end -}}
{{- end -}}

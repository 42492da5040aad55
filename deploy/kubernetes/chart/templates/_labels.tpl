{{- define "shipper.selector" -}}
app.kubernetes.io/name: shipper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shipper.labels" -}}
{{ include "shipper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

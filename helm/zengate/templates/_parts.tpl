{{- /* Files of the policies folder that come from the chart or from values: path to text. */ -}}
{{- define "zengate.policyFiles" -}}
{{- $files := dict -}}
{{- range $name := list "schema.cedarschema" "global.cedar" "limits.toml" "blocks.toml" -}}
{{- $_ := set $files $name ($.Files.Get (printf "files/policies/%s" $name)) -}}
{{- end -}}
{{- range .Values.policies.configMaps -}}
{{- range .items }}{{ $_ := unset $files .path }}{{ end -}}
{{- end -}}
{{- merge (deepCopy .Values.policies.files) $files | toJson -}}
{{- end -}}

{{- /* A path as a key of a ConfigMap. No team's name has a dot. */ -}}
{{- define "zengate.policyKey" -}}{{ replace "/" "." . }}{{- end -}}

{{- /* The secret files in force: name to [Secret, key]. */ -}}
{{- define "zengate.secretFiles" -}}
{{- $s := .Values.secrets -}}
{{- $files := dict -}}
{{- range $name, $of := dict
  "access-key-id" (list $s.accessKey $s.accessKey.idKey)
  "access-key-password" (list $s.accessKey $s.accessKey.passwordKey)
  "previous-access-key-id" (list $s.previousAccessKey $s.previousAccessKey.idKey)
  "previous-access-key-password" (list $s.previousAccessKey $s.previousAccessKey.passwordKey)
  "signing-key" (list $s.signingKey $s.signingKey.key)
  "idempotency-key" (list $s.idempotencyKey $s.idempotencyKey.key)
  "previous-idempotency-key" (list $s.idempotencyKey $s.idempotencyKey.previousKey)
  "tls.crt" (list $s.tls "tls.crt")
  "tls.key" (list $s.tls "tls.key") -}}
{{- if and (first $of).secretName (last $of) }}{{ $_ := set $files $name (list (first $of).secretName (last $of)) }}{{ end -}}
{{- end -}}
{{- if eq .Values.audit.store "postgres" -}}
{{- $_ := set $files "postgres-url" (list $s.postgres.secretName $s.postgres.urlKey) -}}
{{- if $s.postgres.caKey }}{{ $_ := set $files "postgres-ca.pem" (list $s.postgres.secretName $s.postgres.caKey) }}{{ end -}}
{{- end -}}
{{- if eq .Values.limits.store "redis" -}}
{{- $_ := set $files "redis-url" (list $s.redis.secretName $s.redis.urlKey) -}}
{{- if $s.redis.caKey }}{{ $_ := set $files "redis-ca.pem" (list $s.redis.secretName $s.redis.caKey) }}{{ end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{- /* What the chart knows and the configuration file need not say: setting to value. It goes by the environment, so
       that it holds with a ConfigMap of the operator's own too. */ -}}
{{- define "zengate.settings" -}}
{{- $v := .Values -}}
{{- $settings := dict
  "server.listen" "0.0.0.0:8080"
  "server.drain_seconds" (toString $v.drainSeconds)
  "server.shutdown_seconds" (toString $v.shutdownSeconds)
  "operations.listen" "0.0.0.0:9464"
  "policies.dir" (trimSuffix "/" (printf "/etc/zengate/policies/%s" $v.policies.volumeDir))
  "audit.store" $v.audit.store
  "limits.store" $v.limits.store -}}
{{- if eq $v.audit.store "sqlite" }}{{ $_ := set $settings "audit.path" "/var/lib/zengate/zengate.db" }}{{ end -}}
{{- if eq $v.limits.store "redis" -}}
{{- $_ := set $settings "limits.on_redis_loss" $v.limits.onRedisLoss -}}
{{- $_ := set $settings "limits.replicas" (toString (ternary $v.autoscaling.maxReplicas $v.replicas $v.autoscaling.enabled)) -}}
{{- end -}}
{{- $files := include "zengate.secretFiles" . | fromJson -}}
{{- range $name, $key := dict
  "access-key-id" "upstream.access_key_id_file"
  "access-key-password" "upstream.access_key_password_file"
  "previous-access-key-id" "upstream.previous_access_key_id_file"
  "previous-access-key-password" "upstream.previous_access_key_password_file"
  "signing-key" "audit.signing_key_file"
  "postgres-url" "audit.url_file"
  "idempotency-key" "idempotency.key_file"
  "previous-idempotency-key" "idempotency.previous_key_file"
  "redis-url" "limits.redis_url_file"
  "redis-ca.pem" "limits.redis_ca_file"
  "tls.crt" "server.tls.certificate_file"
  "tls.key" "server.tls.key_file" -}}
{{- if hasKey $files $name }}{{ $_ := set $settings $key (printf "/etc/zengate/secrets/%s" $name) }}{{ end -}}
{{- end -}}
{{- toJson $settings -}}
{{- end -}}

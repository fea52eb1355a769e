{{- /* What cannot work ends the rendering, all of it at once, with what to do. */ -}}
{{- define "zengate.refusals" -}}
{{- $v := .Values -}}
{{- $f := list -}}
{{- if not $v.image.repository -}}
{{- $f = append $f "image.repository is empty: name where the image was pushed to (registry.example.com/zengate)." -}}
{{- end -}}
{{- if and $v.existingConfigMap.name (or $v.config $v.files) -}}
{{- $f = append $f "existingConfigMap.name and config or files are both given: leave one of them out." -}}
{{- end -}}
{{- if not (or $v.existingConfigMap.name (dig "issuers" dict $v.config)) -}}
{{- $f = append $f "config.issuers is empty, so nobody could call: name at least one issuer of tokens (docs/identity.md), or give existingConfigMap.name." -}}
{{- end -}}
{{- if not $v.secrets.accessKey.secretName -}}
{{- $f = append $f "secrets.accessKey.secretName is empty: make a Secret with Zenlayer's access key and name it." -}}
{{- end -}}
{{- if not (or $v.existingConfigMap.name $v.secrets.accessKey.idKey (dig "upstream" "access_key_id" "" $v.config)) -}}
{{- $f = append $f "secrets.accessKey.idKey is empty: then config.upstream.access_key_id must say the access key's id." -}}
{{- end -}}
{{- if and $v.secrets.accessKey.idKey (dig "upstream" "access_key_id" "" $v.config) -}}
{{- $f = append $f "config.upstream.access_key_id and secrets.accessKey.idKey both say the access key's id: set idKey to \"\", or leave access_key_id out." -}}
{{- end -}}
{{- if and (include "zengate.several" .) (eq $v.audit.store "sqlite") -}}
{{- $f = append $f "replicas or autoscaling asks for several replicas, and a trail in SQLite has one writer: set audit.store to postgres, or run one replica." -}}
{{- end -}}
{{- if and (include "zengate.several" .) (eq $v.limits.store "local") -}}
{{- $f = append $f "replicas or autoscaling asks for several replicas, and each would count quotas of its own: set limits.store to redis, or run one replica." -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- $f = append $f "autoscaling.minReplicas is above autoscaling.maxReplicas: raise the one or lower the other." -}}
{{- end -}}
{{- if eq $v.audit.store "postgres" -}}
{{- range $name, $what := dict "postgres" "the URL of the database" "signingKey" "the key that signs checkpoints" "idempotencyKey" "the idempotency key" -}}
{{- if not (index $v.secrets $name).secretName -}}
{{- $f = append $f (printf "audit.store is postgres and secrets.%s.secretName is empty: make a Secret with %s and name it." $name $what) -}}
{{- end -}}
{{- end -}}
{{- if $v.audit.ephemeral -}}
{{- $f = append $f "audit.ephemeral is for audit.store sqlite: leave it out." -}}
{{- end -}}
{{- else if and $v.audit.ephemeral $v.audit.persistence.existingClaim -}}
{{- $f = append $f "audit.ephemeral and audit.persistence.existingClaim are both given: leave one of them out." -}}
{{- end -}}
{{- if and (eq $v.limits.store "redis") (not $v.secrets.redis.secretName) -}}
{{- $f = append $f "limits.store is redis and secrets.redis.secretName is empty: make a Secret with the URL of the Redis and name it." -}}
{{- end -}}
{{- $paths := keys $v.policies.files -}}
{{- range $v.policies.configMaps }}{{ range .items }}{{ $paths = append $paths .path }}{{ end }}{{ end -}}
{{- if not (or $v.policies.volume (contains "teams/" (join " " $paths))) -}}
{{- $f = append $f "policies.files and policies.configMaps have no file teams/TEAM.cedar, so nobody could do anything: give at least one team its policies (docs/policies.md)." -}}
{{- end -}}
{{- if and $v.policies.volume (or $v.policies.files $v.policies.configMaps) -}}
{{- $f = append $f "policies.volume is the whole folder: leave policies.files and policies.configMaps out, or put those files into the volume." -}}
{{- end -}}
{{- if and $v.policies.volumeDir (not $v.policies.volume) -}}
{{- $f = append $f "policies.volumeDir is a folder inside policies.volume, which is empty: give the volume, or leave volumeDir out." -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- $f = append $f "ingress.hosts is empty: name at least one host, or set ingress.enabled to false." -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) -}}
{{- $f = append $f "httpRoute.parentRefs is empty: name the Gateway, or set httpRoute.enabled to false." -}}
{{- end -}}
{{- /* The environment goes before the file, so these would be without effect. */ -}}
{{- range $key, $instead := dict
  "server.listen" "the pod listens on 8080; service.port is the Service's"
  "server.drain_seconds" "set drainSeconds"
  "server.shutdown_seconds" "set shutdownSeconds"
  "server.tls" "set secrets.tls.secretName"
  "operations.listen" "the pod listens on 9464; operationsService.port is the Service's"
  "policies.dir" "set policies.files, policies.configMaps or policies.volume"
  "audit.store" "set audit.store of the values"
  "audit.path" "the trail is in /var/lib/zengate"
  "audit.url_file" "set secrets.postgres.secretName"
  "audit.signing_key_file" "set secrets.signingKey.secretName"
  "idempotency.key_file" "set secrets.idempotencyKey.secretName"
  "idempotency.previous_key_file" "set secrets.idempotencyKey.previousKey"
  "limits.store" "set limits.store of the values"
  "limits.on_redis_loss" "set limits.onRedisLoss"
  "limits.replicas" "it follows replicas and autoscaling.maxReplicas"
  "limits.redis_url_file" "set secrets.redis.secretName"
  "limits.redis_ca_file" "set secrets.redis.caKey"
  "upstream.access_key_id_file" "set secrets.accessKey"
  "upstream.access_key_password_file" "set secrets.accessKey"
  "upstream.previous_access_key_id_file" "set secrets.previousAccessKey"
  "upstream.previous_access_key_password_file" "set secrets.previousAccessKey" -}}
{{- $at := splitList "." $key -}}
{{- if hasKey (dig (first $at) dict $v.config) (last $at) -}}
{{- $f = append $f (printf "config.%s is for the chart to say: leave it out (%s)." $key $instead) -}}
{{- end -}}
{{- end -}}
{{- if $f -}}
{{- fail (printf "\n\n%s\n" (join "\n" $f)) -}}
{{- end -}}
{{- end -}}

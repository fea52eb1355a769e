# The gateway alone, on nothing: its binary, the libraries it is linked with, and the authorities it trusts.
# Without the simulator, a shell or a package manager. docs/deployment.md says how it is built and run.
ARG RUST_IMAGE=docker.io/library/rust:1.95-slim-bookworm
FROM ${RUST_IMAGE} AS build
WORKDIR /build
# What is built twice is the same twice: the C compiler takes __TIME__ from here, and files have it as theirs.
ARG SOURCE_DATE_EPOCH=0

# Dependencies first, with a crate that is empty: this layer is built anew only where these files change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src benches \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs benches/steps.rs \
    && cargo build --locked --release --no-default-features --bins \
    && rm -r src

COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --locked --release --no-default-features --bins

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN install -D target/release/zengate /image/usr/local/bin/zengate \
    && ldd target/release/zengate | grep -o '/[^ ]*' | while read -r library; do \
        install -D "$(readlink -f "$library")" "/image$library"; \
    done \
    && mkdir -p /data /image/etc/zengate /image/tmp /image/var/lib \
    && chmod 0700 /data \
    && chmod 1777 /image/tmp \
    && echo 'zengate:x:65532:65532::/var/lib/zengate:/nonexistent' >/image/etc/passwd \
    && echo 'zengate:x:65532:' >/image/etc/group \
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf \
    && find /image /data -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image /
COPY --from=build --chown=65532:65532 /data /var/lib/zengate
COPY LICENSE /usr/share/doc/zengate/LICENSE

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="zengate" \
      org.opencontainers.image.description="An HTTP gateway that lets teams reset the passwords of their own Zenlayer Cloud instances without seeing the access key" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# In a container loopback reaches nobody.
ENV ZENGATE__SERVER__LISTEN=0.0.0.0:8080 \
    ZENGATE__OPERATIONS__LISTEN=0.0.0.0:9464
WORKDIR /etc/zengate
USER 65532:65532
EXPOSE 8080 9464
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/usr/local/bin/zengate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/zengate"]
CMD ["serve"]

# The images of Isthmus for those who have Docker; `make image` writes the same without.
#   docker build --target isthmus -t isthmus.dev/isthmus:0.1.0 .
#   docker build --target proxy -t isthmus.dev/proxy:0.1.0 .
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --locked --release --bin isthmus --bin isthmus-proxy
# Each program, stripped, with the libraries that the loader says it needs, and nothing else.
RUN for program in isthmus isthmus-proxy; do \
      mkdir -p "/image/$program" && strip -o "/image/$program/$program" "target/release/$program" && \
      ldd "target/release/$program" | grep -o '/[^ ]*' | xargs cp -L --parents -t "/image/$program"; \
    done && \
    cp --parents /etc/ssl/certs/ca-certificates.crt /image/isthmus

FROM scratch AS isthmus
COPY --from=build /image/isthmus /
USER 65532:65532
ENTRYPOINT ["/isthmus"]

FROM scratch AS proxy
COPY --from=build /image/isthmus-proxy /
USER 65532:65532
ENTRYPOINT ["/isthmus-proxy"]

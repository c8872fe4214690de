# The image holds the binary and an empty directory for the spool, and nothing else:
# no shell, no package manager. It runs as user 65532.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
# The modules are a layer of their own, so that a changed source file fetches none.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/footfall . \
    && mkdir -p /out/var/lib/footfall

FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="footfall" \
      org.opencontainers.image.description="A web-analytics event pipeline in one binary"
COPY --from=build /out/footfall /footfall
# A named volume that is mounted here for the first time takes this owner over.
COPY --from=build --chown=65532:65532 /out/var/lib/footfall /var/lib/footfall
USER 65532:65532
WORKDIR /var/lib/footfall
EXPOSE 8080 8081
ENTRYPOINT ["/footfall"]

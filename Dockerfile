# syntax=docker/dockerfile:1
# One image for ztunnel, waypoint and ambit: `docker run ambit proxy ztunnel`, `… proxy waypoint`, `… ambit control`.
# The first word or two of the command choose the program, as Istio's charts pass them (bin/image.ts).

FROM node:26-trixie-slim AS build
# Debian keeps one version of each package, so a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends gcc libc6-dev \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY native/package.json native/
RUN npm ci --ignore-scripts
COPY native native
COPY src src
COPY bin bin
COPY tsconfig.json ./
RUN node native/build.mjs \
  && npm run compile \
  && rm -rf native/src native/*.mjs dist/bin/demo.js*

FROM node:26-trixie-slim
# What `ambit redirect` calls. ztunnel and waypoint themselves need none of it.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends iptables ipset iproute2 \
  && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx
WORKDIR /app
COPY --from=build /app/package.json ./
# The programs contain the libraries they use, but for the addon.
COPY --from=build /app/native node_modules/node-tproxy-native
COPY --from=build /app/dist dist
COPY LICENSE NOTICE ./
# Memory: bin/ztunnel.ts says why.
ENV NODE_ENV=production MALLOC_ARENA_MAX=1
# ztunnel's chart expects uid 0 with dropped capabilities and a working directory of /; the waypoint's sets 1337 itself.
WORKDIR /
USER 1337:1337
EXPOSE 15001 15006 15008 15020 15021
ENTRYPOINT ["node", "--disable-sigusr1", "--max-semi-space-size=4", "--no-maglev-destroy-on-background", "--no-memory-reducer", "--no-allocation-site-pretenuring", "/app/dist/bin/image.js"]
CMD ["--help"]

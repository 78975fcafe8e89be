# The server image: one static binary and nothing else. `deploy/image/build` makes the folder this copies from, and both images.
FROM scratch
COPY rootfs/ /
COPY --chown=100:1000 data/ /data/
# Ids as in the official chart's security context.
USER 100:1000
VOLUME ["/data"]
EXPOSE 8200 8201
ENTRYPOINT ["/bin/strongroom"]
CMD ["server", "-config=/config"]

# One image for every process; compose.yaml says which of them a container is.
FROM python:3.13-slim AS wanted
WORKDIR /build
COPY deploy/image/lean.py pyproject.toml ./
RUN python lean.py requirements > requirements.txt \
 && python lean.py build-requirements > build-requirements.txt

FROM python:3.13-slim AS builder
# Unset on most machines. Where packages come through a mirror: --build-arg PIP_INDEX_URL=…
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CACHE_DIR=/var/cache/pip
WORKDIR /build
COPY --from=wanted /build/build-requirements.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv /tools \
 && /tools/bin/python -m pip install -q -r build-requirements.txt

# What the program stands on changes seldom: a layer of its own, which a change of source leaves be.
FROM builder AS dependencies
COPY --from=wanted /build/requirements.txt ./
COPY deploy/image/lean.py constraints.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv --without-pip /opt/alpaclaudia \
 && /tools/bin/python -m pip --python /opt/alpaclaudia/bin/python \
        install -q --no-compile -c constraints.txt -r requirements.txt \
 && python lean.py strip /opt/alpaclaudia \
 && python -m compileall -q -j 0 /opt/alpaclaudia/lib

FROM builder AS program
COPY pyproject.toml README.md ./
COPY libs libs
COPY services services
RUN --mount=type=cache,target=/var/cache/pip \
    /tools/bin/python -m pip wheel -q --no-deps --no-build-isolation -w /wheels . \
 && python -m venv --without-pip /opt/alpaclaudia \
 && /tools/bin/python -m pip --python /opt/alpaclaudia/bin/python \
        install -q --no-deps --no-index /wheels/*.whl \
 && rm -f /opt/alpaclaudia/bin/python* /opt/alpaclaudia/bin/[Aa]ctivate*

FROM python:3.13-slim
# Numbers, so that whoever runs it need not know the name; no shell, no home, no password.
RUN echo 'alpaclaudia:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'alpaclaudia:x:10001:' >> /etc/group
COPY --from=dependencies /opt/alpaclaudia /opt/alpaclaudia
COPY --from=program /opt/alpaclaudia /opt/alpaclaudia
ENV PATH=/opt/alpaclaudia/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 \
    ALPACLAUDIA_ENV_FILE= LOG_FORMAT=json
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["alpaclaudia"]
CMD ["--help"]

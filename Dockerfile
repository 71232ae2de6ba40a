# The page in a container, run by a user without rights.
#
#   docker build -t personagen .
#   docker run --rm -p 127.0.0.1:7860:7860 personagen demo --host 0.0.0.0 --auth NAME:PASSWORD
# Without --auth it says that others could reach it, and stops.
#
# Another command, on the files of the current folder:
#   docker run --rm -v "$PWD:/home/personagen/work" personagen recommend train --data clicks.csv --out shop
#
# pip's own index brings torch for CUDA; for a smaller image without a GPU name an index with the CPU build:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... -t personagen .
FROM python:3.11-slim

ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 GRADIO_ANALYTICS_ENABLED=False

RUN groupadd --gid 1000 personagen && useradd --uid 1000 --gid personagen --create-home personagen \
    && install --directory --owner personagen --group personagen /home/personagen/work

COPY pyproject.toml constraints.txt README.md LICENSE THIRD_PARTY.md /source/
COPY apps /source/apps
COPY personagen /source/personagen
COPY recsys /source/recsys
COPY configs /source/configs
RUN pip install -c /source/constraints.txt '/source[all]' && rm -r /source

USER personagen
WORKDIR /home/personagen/work
EXPOSE 7860
ENTRYPOINT ["personagen"]
CMD ["demo", "--host", "0.0.0.0"]

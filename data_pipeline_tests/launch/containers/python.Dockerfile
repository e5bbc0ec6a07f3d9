# Stands in for python:3.13-slim, of which it has what the image needs: `python` and `venv`.
FROM localhost/debian:base
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN ln -s /usr/bin/python3 /usr/local/bin/python

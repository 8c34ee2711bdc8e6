"""The cache by FastAPI and uvicorn on a Unix socket, and httpx."""

import sys

from get_or_spawn import get_or_spawn


class Client:
    def __init__(self, path):
        import httpx

        self.http = httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://cache")

    def put(self, key, value):
        self.http.put(f"/values/{key}", content=value).raise_for_status()

    def get(self, key):
        return self.http.get(f"/values/{key}").raise_for_status().content

    def add(self, key, steps=1):
        return self.http.post(f"/counters/{key}", params={"steps": steps}).raise_for_status().json()


def client(path):
    get_or_spawn(__file__, path)
    return Client(path)


def serve(path):
    import uvicorn
    from fastapi import FastAPI, Request, Response

    app, values, counters = FastAPI(), {}, {}

    @app.put("/values/{key}")
    async def put(key: str, request: Request):
        values[key] = await request.body()

    @app.get("/values/{key}")
    async def get(key: str):
        return Response(values.get(key, b""))

    @app.post("/counters/{key}")
    async def add(key: str, steps: int = 1):
        counters[key] = counters.get(key, 0) + steps
        return counters[key]

    uvicorn.run(app, uds=path, log_level="warning")


if __name__ == "__main__":
    serve(sys.argv[2])

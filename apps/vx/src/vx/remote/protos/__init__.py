"""Messages of the Remote Execution API v2, ByteStream, and Remote Workers API, as protoc makes them.

Generated, and not edited but for two lines: the imports of one of these by another.  From the .proto files of
github.com/bazelbuild/remote-apis and github.com/googleapis/googleapis (Apache-2.0, each file says so), by

    python -m grpc_tools.protoc --python_out=. --pyi_out=. build/bazel/remote/execution/v2/remote_execution.proto \
        build/bazel/semver/semver.proto google/bytestream/bytestream.proto \
        google/devtools/remoteworkers/v1test2/bots.proto google/devtools/remoteworkers/v1test2/worker.proto

with grpcio-tools 1.76 (protobuf 6.33): they run with protobuf 6.33 and 7.  Needs the extra `vx[remote]`.
"""

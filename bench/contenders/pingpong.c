/* The floor: bytes forth and back in C, by epoll on one side and blocking calls on the other.
 *
 *   pingpong serve PATH
 *   pingpong load PATH PER_CALL CONNECTIONS SECONDS SERVER_PID
 *
 * The bytes are those of the same call and reply in Varlink; nobody looks at them.  A load prints what
 * bench/contenders/play.py prints for the others.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char CALL[] = "{\"method\":\"org.example.bench.Status\",\"parameters\":{}}";
static const char REPLY[] = "{\"parameters\":{\"state\":\"running\",\"uptime_secs\":12345,\"current_session\":"
                            "\"session-42\",\"saves_count\":17,\"total_resumes\":3}}";
#define MOST 4000000
static unsigned times_ns[MOST];

static void fail(const char *what) { perror(what); exit(1); }

static double now_s(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) return 0;
    return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_un address(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    return to;
}

static void serve(const char *path) {
    struct sockaddr_un to = address(path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), poller = epoll_create1(0);
    if (bind(listener, (void *)&to, sizeof to) || listen(listener, 4096)) fail("listen");
    struct epoll_event found[256], wanted = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    char data[4096];
    for (;;) {
        int count = epoll_wait(poller, found, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = found[i].data.fd;
            if (fd == listener) {
                wanted.data.fd = accept4(listener, 0, 0, SOCK_NONBLOCK);
                if (wanted.data.fd >= 0) epoll_ctl(poller, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
            } else if (recv(fd, data, sizeof data, 0) <= 0)
                close(fd);
            else
                send(fd, REPLY, sizeof REPLY, MSG_NOSIGNAL);
        }
    }
}

static int connected(const struct sockaddr_un *to) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (void *)to, sizeof *to)) fail("connect");
    return fd;
}

static void ask(int fd) {
    char data[4096];
    if (send(fd, CALL, sizeof CALL, 0) < 0 || recv(fd, data, sizeof data, 0) <= 0) fail("ask");
}

static int earlier(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

static int load(const char *path, int per_call, int connections, double seconds, long server) {
    struct sockaddr_un to = address(path);
    clockid_t server_clock = ((clockid_t)~server << 3) | 2;
    int ready[2], go[2], done[2];
    if (pipe(ready) || pipe(go) || pipe(done)) fail("pipe");
    for (int i = 0; i < connections; i++) {
        if (fork()) continue;
        close(go[1]);
        int fd = connected(&to);
        ask(fd);
        char byte = 0;
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) < 0) fail("go");
        double end_s = now_s(CLOCK_MONOTONIC) + seconds, began_s = now_s(CLOCK_MONOTONIC), at_s = began_s;
        struct { long calls; double p50_us; double seconds; double cpu_s; } r = {0};
        double cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID);
        while (at_s < end_s) {
            if (per_call) {
                int one = connected(&to);
                ask(one);
                close(one);
            } else
                ask(fd);
            double then_s = now_s(CLOCK_MONOTONIC);
            if (r.calls < MOST) times_ns[r.calls] = (then_s - at_s) * 1e9;
            at_s = then_s;
            r.calls++;
        }
        r.cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
        long kept = r.calls < MOST ? r.calls : MOST;
        qsort(times_ns, kept, sizeof *times_ns, earlier);
        r.p50_us = times_ns[kept / 2] / 1e3;
        r.seconds = at_s - began_s;
        if (write(done[1], &r, sizeof r) != sizeof r) fail("done");
        _exit(0);
    }
    char byte;
    for (int i = 0; i < connections; i++)
        if (read(ready[0], &byte, 1) != 1) fail("ready");
    double server_s = now_s(server_clock);
    close(go[1]);
    long calls = 0;
    double p50_us = 0, longest_s = 0, cpu_s = 0;
    for (int i = 0; i < connections; i++) {
        struct { long calls; double p50_us; double seconds; double cpu_s; } r;
        if (read(done[0], &r, sizeof r) != sizeof r) fail("result");
        if (i + 1 == connections) server_s = now_s(server_clock) - server_s;
        calls += r.calls, p50_us += r.p50_us, cpu_s += r.cpu_s;
        if (r.seconds > longest_s) longest_s = r.seconds;
    }
    while (wait(0) > 0) {}
    printf("{\"calls\": %ld, \"seconds\": %.6f, \"p50_us\": %.3f, \"server_us\": %.3f, \"client_us\": %.3f}\n", calls,
           longest_s, p50_us / connections, server_s / calls * 1e6, cpu_s / calls * 1e6);
    return 0;
}

int main(int count, char **words) {
    if (count == 3 && !strcmp(words[1], "serve")) serve(words[2]);
    if (count == 7 && !strcmp(words[1], "load"))
        return load(words[2], atoi(words[3]), atoi(words[4]), atof(words[5]), atol(words[6]));
    fprintf(stderr, "pingpong serve PATH | load PATH PER_CALL CONNECTIONS SECONDS SERVER_PID\n");
    return 2;
}

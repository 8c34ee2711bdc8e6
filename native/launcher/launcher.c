/* The quick commands of `daemonry`, and of programs on top of it, without starting Python.
 *
 *     daemonry status|ping|pause|resume|reload|stop NAME [--json]
 *     vx-aether|vx-cass|vx-rhea status|ping|... [--json]
 *     daemonry --host HOST status NAME [--json], through a connection that ssh keeps
 *     palingenesis status|pause|resume|daemon status|daemon reload|daemon stop [--json]
 *     mcp-cli call SERVER/TOOL ...      on the warm daemon
 *     vx build [-r] [-q] [--json]       where nothing has to be built
 *
 * Owns the plain case: a daemon of this user that runs on this machine and answers in plain words.  In
 * every other case it executes the Python command with the same words and environment, before anything was
 * sent; an answer that is not plain is handed to it as it came, or with the connection on which more comes
 * (`daemonry.cli.native`), so that nothing is sent twice.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agreed.h"
#include "answers.h"
#include "bytes.h"
#include "drift.h"
#include "exchange.h"
#include "far.h"
#include "hand_over.h"
#include "limits.h"
#include "mcp_call.h"
#include "place.h"
#include "stopping.h"
#include "vx_build.h"
#include "words.h"

static void interrupted(int number) {
    (void)number;
    _exit(INTERRUPTED);
}

/* What may change between two looks is looked at before anything is sent. */
static void prepare(const struct request *request, struct place *place) {
    check_surroundings(request->name);
    check_agreed("daemonry", LAUNCHER, NULL);
    if (request->program->package) check_agreed(request->program->package, PROGRAM_LAUNCHER, NULL);
    find_files(request, place->files, sizeof place->files);
    read_record(place);
    bool shows_drift = is_verb(request, "STATUS\n") && !request->program->labelled;
    if (shows_drift && !has_our_environment(place->files)) hand_over();
    if (is_verb(request, "STOP\n") && !has_no_homes()) hand_over();
}

static _Noreturn void do_quick_command(int argc, char **argv) {
    struct request request = {0};
    struct place place = {0};
    struct sigaction before, ours = {.sa_handler = interrupted};
    struct bytes reply = {0};
    tell_far_status(argc, argv);
    if (!understand(argc, argv, &request)) hand_over();
    prepare(&request, &place);
    long long until_ms = now_ms() + REQUEST_TIMEOUT_MS;
    int fd = connected(&place.address);
    if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler == SIG_DFL) sigaction(SIGINT, &ours, NULL);
    const char *line = request.verb->line;
    if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0) hand_over(); /* nothing was sent */
    if (!request.verb->idempotent) code_of_failure = UNKNOWN_OUTCOME;
    add(&reply, "", 0);
    const char *outcome = read_line(fd, until_ms, &reply);
    bool answered = strcmp(outcome, "reply") == 0;
    if (answered && is_verb(&request, "STOP\n")) {
        close(fd); /* as Python does: the daemon does not wait for this connection */
        if (reply.length == 3 && memcmp(reply.at, "OK\n", 3) == 0 && is_gone(&place))
            print_done(&request, request.verb->done, "");
    } else if (answered) {
        print_plain(&request, place.pid, &reply);
    } else if (request.verb->idempotent && strcmp(outcome, "lost") == 0) {
        hand_over(); /* asks once more, as client.text.request does */
    }
    hand_over_answer(line, outcome, &reply);
}

int main(int argc, char **argv) {
    char path[4096];
    words = argv;
    const char *own = own_name(path, sizeof path);
    if (strcmp(own, "mcp-cli") == 0) make_mcp_call(argc, argv);
    if (strcmp(own, "vx") == 0) ask_for_build(argc, argv);
    do_quick_command(argc, argv);
}

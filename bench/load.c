/* The callers of the benchmark: sends one request over and over and checks every answer.
 *
 *   load -p PORT -u PATH -b BODYFILE [-H 'Name: value']... [-c CONNECTIONS] [-n REQUESTS] [-d SECONDS] [-r RATE]
 *        [-e EVENTS [-z END]] [-k TEXT] [-i HEADER] [-g MS] [-w SECONDS]
 *
 * Closed loop: every connection sends its next request when the answer is complete. With -r an open loop: request k is
 * due at k / RATE seconds whatever the answers do, and its times count from then, so that a stall is charged to all
 * who had to wait for it. An answer is good if its status is 200, its framing holds to the byte, and: with -e it is an
 * event stream of that many data lines whose last begins with END, else "data: [DONE]" (16 characters are looked at); with -k its body has TEXT in it; with -i its head has
 * HEADER. -g counts streams with a pause between two events longer than MS. After the last request is sent, answers
 * get -w seconds, 20 if nothing is said. Prints one JSON object; exits 0 whatever the answers were.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, LINE = 16, TICK = 0x7fffffff };
enum phase { IDLE, HEAD, BODY };
enum part { SIZE, EXTENSION, SIZE_END, DATA, DATA_CR, DATA_LF, TRAILER }; /* of a chunked body */

struct conn {
    int fd, wants_out, fresh;
    enum phase phase;
    size_t sent;
    uint64_t due, first, last_event, longest;
    char head[HEAD_MAX];
    size_t head_size;
    int status, chunked, closes, stream;
    long left; /* of the body or chunk; -1 = until the connection ends */
    enum part part;
    int digits, trailer;
    char line[LINE];
    size_t line_size;
    long events;
    int done_seen, text_seen;
};

static int port, connections = 1, epoll_fd, *idle, idle_count;
static long limit = 1000000000, expected = -1, gap_ms, patience = 20;
static double seconds = 1e9, rate;
static const char *path = "/", *text, *wanted_header, *body_file, *stream_end = "data: [DONE]";
static size_t stream_end_size;
static char *request;
static size_t request_size;
static struct conn *conns;
static uint64_t begun, stop_at;
static long started, ended, good, wrong_status, bad_framing, bad_content, lost, refused, redials, late_streams;
static long events_total, bytes_total;
static float *firsts, *totals;
static long timed, room;
static uint64_t longest_gap;
static char complaint[256];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t due_at(long k) { return begun + (uint64_t)((double)k * 1e9 / rate); }

static void complain(const char *what, const struct conn *c) {
    if (!complaint[0])
        snprintf(complaint, sizeof complaint, "%s (status %d, %ld events, answer %ld)", what, c->status, c->events, ended);
}

static void note_times(const struct conn *c, uint64_t now) {
    if (timed == room) {
        room = room ? room * 2 : 65536;
        firsts = realloc(firsts, sizeof(float) * (size_t)room);
        totals = realloc(totals, sizeof(float) * (size_t)room);
        if (!firsts || !totals) abort();
    }
    firsts[timed] = (float)((double)(c->first - c->due) / 1000.0);
    totals[timed++] = (float)((double)(now - c->due) / 1000.0);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static int dial(struct conn *c) {
    int one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&to, sizeof to)) {
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->wants_out = 0;
    c->fresh = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)(c - conns)};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    redials++;
    return 0;
}

static void hang_up(struct conn *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static int send_rest(struct conn *c) {
    while (c->sent < request_size) {
        ssize_t k = send(c->fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0 && errno != EAGAIN) return -1;
        if (k < 0) break;
        c->sent += (size_t)k;
    }
    int wanted = c->sent < request_size;
    if (wanted != c->wants_out) {
        struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.u32 = (uint32_t)(c - conns)};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
        c->wants_out = wanted;
    }
    return 0;
}

static void start(struct conn *c, uint64_t due) {
    started++;
    c->due = due;
    c->phase = HEAD;
    c->sent = c->head_size = c->line_size = 0;
    c->first = c->last_event = c->longest = 0;
    c->status = c->chunked = c->closes = c->stream = c->digits = c->trailer = c->done_seen = c->text_seen = 0;
    c->left = -1;
    c->events = 0;
    c->part = SIZE;
    if ((c->fd >= 0 || !dial(c)) && !send_rest(c)) return;
    /* An idle connection that the server closed meanwhile is dialled again once; that is what every client does. */
    if (c->fd >= 0 && !c->fresh) {
        hang_up(c);
        c->sent = 0;
        if (!dial(c) && !send_rest(c)) return;
    }
    complain("cannot connect", c);
    hang_up(c);
    refused++;
    ended++;
    c->phase = IDLE;
    idle[idle_count++] = (int)(c - conns);
}

static int may_start(uint64_t now) { return started < limit && now < stop_at; }

static void start_due(uint64_t now) {
    if (rate > 0) {
        while (idle_count && started < limit && due_at(started) < stop_at && due_at(started) <= now)
            start(&conns[idle[--idle_count]], due_at(started));
        return;
    }
    /* Bounded, so that a server that refuses everybody cannot hold us here. */
    for (int tries = idle_count; tries > 0 && idle_count && may_start(now); tries--) start(&conns[idle[--idle_count]], now);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static void finish(struct conn *c, uint64_t now, const char *framing_fault) {
    ended++;
    if (framing_fault) {
        bad_framing++;
        complain(framing_fault, c);
    } else if (c->status != 200) {
        wrong_status++;
        complain("not a 200", c);
    } else if (expected >= 0 && (!c->stream || !c->done_seen || c->events != expected)) {
        bad_content++;
        complain("not the stream that was expected", c);
    } else if ((text && !c->text_seen) || (wanted_header && !strcasestr(c->head, wanted_header))) {
        bad_content++;
        complain("an answer lacks what it must have", c);
    } else {
        good++;
        note_times(c, now);
    }
    events_total += c->events;
    if (gap_ms && c->longest > (uint64_t)gap_ms * 1000000ull) late_streams++;
    if (c->longest > longest_gap) longest_gap = c->longest;
    c->fresh = 0;
    c->phase = IDLE;
    if (c->closes || framing_fault) hang_up(c);
    idle[idle_count++] = (int)(c - conns);
}

static void line_end(struct conn *c, uint64_t now) {
    if (c->line_size >= 5 && !memcmp(c->line, "data:", 5)) {
        c->events++;
        if (c->last_event && now - c->last_event > c->longest) c->longest = now - c->last_event;
        c->last_event = now;
        c->done_seen = c->line_size >= stream_end_size && !memcmp(c->line, stream_end, stream_end_size);
    }
    c->line_size = 0;
}

static void content(struct conn *c, const char *data, size_t size, uint64_t now) {
    if (!c->first) c->first = now;
    bytes_total += (long)size;
    if (text && !c->text_seen && memmem(data, size, text, strlen(text))) c->text_seen = 1;
    if (!c->stream) return;
    for (const char *end = data + size; data < end;) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        size_t piece = (size_t)((newline ? newline : end) - data);
        if (c->line_size < LINE) memcpy(c->line + c->line_size, data, piece < LINE - c->line_size ? piece : LINE - c->line_size);
        c->line_size = c->line_size + piece < LINE ? c->line_size + piece : LINE;
        if (!newline) return;
        line_end(c, now);
        data = newline + 1;
    }
}

/* Gives what is wrong with the framing, NULL if nothing; *over is set at the end of the body. */
static const char *dechunk(struct conn *c, const char **at, const char *end, uint64_t now, int *over) {
    while (*at < end) {
        if (c->part == DATA) {
            size_t size = (size_t)(end - *at) < (size_t)c->left ? (size_t)(end - *at) : (size_t)c->left;
            content(c, *at, size, now);
            *at += size;
            c->left -= (long)size;
            if (!c->left) c->part = DATA_CR;
            continue;
        }
        char byte = *(*at)++;
        switch (c->part) {
        case SIZE: {
            int digit = byte >= '0' && byte <= '9' ? byte - '0' : (byte | 32) >= 'a' && (byte | 32) <= 'f' ? (byte | 32) - 'a' + 10 : -1;
            if (digit >= 0 && c->digits < 8) {
                c->left = (c->digits++ ? c->left * 16 : 0) + digit;
                break;
            }
            if (!c->digits || (byte != ';' && byte != '\r')) return "a chunk without a proper size";
            c->part = byte == ';' ? EXTENSION : SIZE_END;
            break;
        }
        case EXTENSION:
            if (byte == '\r') c->part = SIZE_END;
            break;
        case SIZE_END:
            if (byte != '\n') return "a chunk size without its line end";
            c->digits = 0;
            c->part = c->left ? DATA : TRAILER;
            break;
        case DATA_CR:
            if (byte != '\r') return "a chunk longer than its size";
            c->part = DATA_LF;
            break;
        case DATA_LF:
            if (byte != '\n') return "a chunk without its line end";
            c->part = SIZE;
            break;
        default:
            if (byte == '\n') {
                if (!c->trailer) {
                    *over = 1;
                    return NULL;
                }
                c->trailer = 0;
            } else if (byte != '\r') c->trailer = 1;
        }
    }
    return NULL;
}

/* The head is complete in c->head. 0 = not HTTP. */
static int read_head(struct conn *c) {
    if (c->head_size < 12 || memcmp(c->head, "HTTP/1.", 7)) return 0;
    c->status = atoi(c->head + 9);
    for (char *line = strstr(c->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        char *value = strchr(line, ':');
        if (!value) break;
        value++;
        if (!strncasecmp(line, "content-length:", 15)) c->left = atol(value);
        else if (!strncasecmp(line, "transfer-encoding:", 18)) c->chunked = !strncasecmp(value + strspn(value, " "), "chunked", 7);
        else if (!strncasecmp(line, "connection:", 11)) c->closes = !strncasecmp(value + strspn(value, " "), "close", 5);
        else if (!strncasecmp(line, "content-type:", 13)) c->stream = !strncasecmp(value + strspn(value, " "), "text/event-stream", 17);
    }
    if (!c->chunked && c->left < 0) c->closes = 1;
    return 1;
}

static void take(struct conn *c, const char *data, size_t size, uint64_t now) {
    const char *end = data + size;
    if (c->phase == HEAD) {
        size_t room_left = HEAD_MAX - 1 - c->head_size, taken = size < room_left ? size : room_left, before = c->head_size;
        memcpy(c->head + before, data, taken);
        c->head_size += taken;
        c->head[c->head_size] = 0;
        size_t from = before > 3 ? before - 3 : 0;
        char *blank = memmem(c->head + from, c->head_size - from, "\r\n\r\n", 4);
        if (!blank) {
            if (taken == room_left) finish(c, now, "a head without end");
            return;
        }
        data += (size_t)(blank - c->head) + 4 - before;
        blank[2] = 0;
        c->head_size = (size_t)(blank - c->head) + 2;
        if (!read_head(c)) {
            finish(c, now, "not HTTP/1.1");
            return;
        }
        c->phase = BODY;
        if (!c->chunked && c->left == 0) {
            finish(c, now, data < end ? "bytes after the answer" : NULL);
            return;
        }
    }
    if (c->phase == IDLE) {
        /* Nobody asked for these bytes: the server and we no longer agree where answers begin. */
        bad_framing++;
        complain("bytes after the answer", c);
        hang_up(c);
        return;
    }
    int over = 0;
    const char *fault = NULL;
    if (c->chunked) fault = dechunk(c, &data, end, now, &over);
    else {
        if (c->left >= 0 && end - data > c->left) fault = "a body longer than its length";
        else content(c, data, (size_t)(end - data), now);
        if (c->left >= 0) {
            c->left -= end - data;
            over = c->left == 0;
        }
        data = end;
    }
    if (!fault && over && data < end) fault = "bytes after the answer";
    if (fault || over) finish(c, now, fault);
}

static void hung_up(struct conn *c, uint64_t now) {
    if (c->phase == BODY && !c->chunked && c->left < 0) {
        finish(c, now, NULL);
        return;
    }
    hang_up(c);
    if (c->phase == IDLE) return;
    complain("the connection ended inside an answer", c);
    lost++;
    ended++;
    c->phase = IDLE;
    idle[idle_count++] = (int)(c - conns);
}

static void readable(struct conn *c) {
    static char buffer[1 << 18];
    while (c->fd >= 0) {
        ssize_t got = recv(c->fd, buffer, sizeof buffer, 0);
        if (got > 0) {
            take(c, buffer, (size_t)got, now_ns());
            if ((size_t)got < sizeof buffer) return;
            continue;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        hung_up(c, now_ns());
        return;
    }
}

/* --- the run ---------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void print_times(const char *name, float *times) {
    if (!timed) {
        printf("\"%s\":null,", name);
        return;
    }
    double sum = 0;
    for (long i = 0; i < timed; i++) sum += (double)times[i];
    qsort(times, (size_t)timed, sizeof *times, by_size);
    printf("\"%s\":{\"mean\":%.1f", name, sum / (double)timed);
    const double at[] = {50, 90, 99, 99.9};
    const char *names[] = {"p50", "p90", "p99", "p999"};
    for (int i = 0; i < 4; i++) {
        long rank = (long)((double)timed * at[i] / 100.0);
        printf(",\"%s\":%.1f", names[i], (double)times[rank < timed ? rank : timed - 1]);
    }
    printf(",\"max\":%.1f},", (double)times[timed - 1]);
}

static void print_results(double elapsed) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"sent\":%ld,\"good\":%ld,\"wrong_status\":%ld,\"bad_framing\":%ld,\"bad_content\":%ld,\"lost\":%ld,\"refused\":%ld,"
           "\"unanswered\":%ld,\"connections\":%ld,\"seconds\":%.4f,\"per_second\":%.1f,\"events\":%ld,\"body_bytes\":%ld,"
           "\"cpu_s\":%.4f,\"late_streams\":%ld,\"longest_gap_ms\":%.1f,",
           started, good, wrong_status, bad_framing, bad_content, lost, refused, started - ended, redials, elapsed,
           (double)ended / elapsed, events_total, bytes_total, cpu, late_streams, (double)longest_gap / 1e6);
    print_times("first_us", firsts);
    print_times("total_us", totals);
    printf("\"complaint\":\"%s\"}\n", complaint);
}

static void prepare(const char *headers) {
    FILE *file = fopen(body_file, "rb");
    if (!file || fseek(file, 0, SEEK_END)) {
        perror(body_file);
        exit(1);
    }
    long size = ftell(file);
    rewind(file);
    request = malloc((size_t)size + strlen(headers) + strlen(path) + 512);
    request_size = (size_t)sprintf(request,
                                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: */*\r\n"
                                   "User-Agent: bench\r\n%sContent-Length: %ld\r\n\r\n",
                                   path, port, headers, size);
    if (fread(request + request_size, 1, (size_t)size, file) != (size_t)size) exit(1);
    request_size += (size_t)size;
    fclose(file);
}

static void options(int count, char **args, char *headers, size_t headers_room) {
    int option;
    while ((option = getopt(count, args, "p:u:b:H:c:n:d:r:e:k:i:g:w:z:")) != -1) {
        size_t used = strlen(headers);
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'b': body_file = optarg; break;
        case 'H': snprintf(headers + used, headers_room - used, "%s\r\n", optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 'n': limit = atol(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'e': expected = atol(optarg); break;
        case 'k': text = optarg; break;
        case 'z': stream_end = optarg; break;
        case 'i': wanted_header = optarg; break;
        case 'g': gap_ms = atol(optarg); break;
        case 'w': patience = atol(optarg); break;
        default: exit(2);
        }
    }
    stream_end_size = strlen(stream_end) < LINE ? strlen(stream_end) : LINE;
    if (!port || !body_file || connections < 1) {
        fprintf(stderr, "load: -p PORT and -b BODYFILE are needed\n");
        exit(2);
    }
}

int main(int count, char **args) {
    char headers[4096] = "";
    options(count, args, headers, sizeof headers);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files = {32768, 32768};
    setrlimit(RLIMIT_NOFILE, &files);
    prepare(headers);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)connections, sizeof *conns);
    idle = calloc((size_t)connections, sizeof *idle);
    for (int i = connections - 1; i >= 0; i--) {
        conns[i].fd = -1;
        idle[idle_count++] = i;
    }
    int timer = -1;
    begun = now_ns();
    stop_at = seconds < 1e8 ? begun + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    if (rate > 0) {
        timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        uint64_t every = (uint64_t)(1e9 / rate);
        struct itimerspec spec = {{(time_t)(every / 1000000000ull), (long)(every % 1000000000ull)}, {0, 1}};
        timerfd_settime(timer, 0, &spec, NULL);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = TICK};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer, &e);
    }
    struct epoll_event events[512];
    uint64_t all_sent = 0, now = begun;
    for (;;) {
        start_due(now);
        int open = rate > 0 ? started < limit && due_at(started) < stop_at : may_start(now);
        if (!open && started == ended) break;
        if (!open && !all_sent) all_sent = now;
        if (all_sent && now - all_sent > (uint64_t)patience * 1000000000ull) break;
        int n = epoll_wait(epoll_fd, events, 512, 100);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == TICK) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) < 0) continue;
                start_due(now_ns());
                continue;
            }
            struct conn *c = &conns[events[i].data.u32];
            if (c->fd >= 0 && events[i].events & EPOLLOUT && send_rest(c)) hung_up(c, now_ns());
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        }
        now = now_ns();
    }
    print_results((double)(now_ns() - begun) / 1e9);
    return 0;
}

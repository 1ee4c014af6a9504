/* The provider of the benchmark: answers OpenAI chat completions and Anthropic messages from prepared bytes.
 *
 *   upstream -p PORT [-a MARK=FILE]...
 *
 * One thread, one epoll, keep-alive. POST to a path that ends in /messages is answered as Anthropic, any other POST as
 * OpenAI chat. A body with "stream": true gets server-sent events, each its own HTTP chunk and its own write, as real
 * providers send them; "pacedN" anywhere in the first or last 4 KB of the body spaces the content events N ms apart,
 * else they leave as fast as the socket takes them. Bodies of any length are read and forgotten. GET /stats tells how
 * much was served. -a: a POST whose request line has MARK in it is answered from FILE, which prepared.py describes; such
 * an answer without a whole one is always streamed. The port it took (0 asks for a free one) is the first line it prints.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FDS = 32768, HEAD_MAX = 8192, EDGE = 4096, SLOTS = 8192, WORDS = 100, EVENTS_MAX = WORDS + 16 };
enum phase { READING_HEAD, READING_BODY, ANSWERING };

struct piece {
    char *bytes;
    size_t size;
    int waits; /* a paced stream pauses before this one */
};

struct answer {
    struct piece whole; /* head and body of the unary answer */
    struct piece head;  /* head of the stream */
    struct piece events[EVENTS_MAX];
    int count;
};

struct conn {
    int fd;
    enum phase phase;
    char head[HEAD_MAX];
    size_t head_size;
    uint64_t body_left, body_size;
    char first[EDGE], last[EDGE]; /* the two ends of the body: what the markers are looked for in */
    size_t last_size;
    int get;
    const struct answer *asked;  /* what its path is answered with */
    const struct answer *answer; /* the stream being sent; NULL for a unary answer */
    int next;
    unsigned pace; /* ms; 0 = as fast as possible */
    uint64_t due;  /* ms */
    struct conn *earlier, *later;
    int in_wheel;
    const char *out;
    size_t out_left;
    int wants_out;
};

static struct conn *conns[FDS];
static struct conn *wheel[SLOTS];
static int paced_open;
static uint64_t wheel_now;
static int epoll_fd;
static struct answer chat, messages;
static struct prepared {
    const char *mark;
    struct answer answer;
} prepared[16];
static int prepared_count;
static char scratch[1 << 18];
static long served, streams, open_conns, aborted;
static char stats_answer[512];

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- what is answered ------------------------------------------------------------------------------------------ */

static struct piece text(const char *format, ...) {
    struct piece made = {0};
    va_list args;
    va_start(args, format);
    int size = vasprintf(&made.bytes, format, args);
    va_end(args);
    if (size < 0) abort();
    made.size = (size_t)size;
    return made;
}

static const char HEADERS[] =
    "Date: Mon, 05 Jan 2026 10:00:00 GMT\r\nServer: bench\r\nx-request-id: req_8f14e45fceea167a5a36dedd4bea2543\r\n"
    "processing-ms: 412\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 1999000\r\n";

static void add_event(struct answer *to, int waits, struct piece payload) {
    struct piece *event = &to->events[to->count++];
    *event = text("%zx\r\n%s\r\n", payload.size, payload.bytes);
    event->waits = waits;
    free(payload.bytes);
}

static void unary(struct answer *to, struct piece body) {
    to->whole = text("HTTP/1.1 200 OK\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", HEADERS,
                     body.size, body.bytes);
    free(body.bytes);
    to->head = text(
        "HTTP/1.1 200 OK\r\n%sContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
        "Transfer-Encoding: chunked\r\n\r\n",
        HEADERS);
}

static const char PROSE[] =
    "The ledger is the oldest kind of database that people still trust. Every entry stands where it was written, and "
    "whoever wants to change a sum writes another line instead of rubbing one out. That habit costs a little paper and "
    "saves a great deal of argument: two honest clerks, a thousand miles apart, who start from the same pages arrive at the same total, and a "
    "dishonest one has to forge every page that follows. Software that moves money can do worse than to copy them, line by line.";

static void make_chat(void) {
    unary(&chat, text("{\"id\":\"chatcmpl-Bn7sVq2LrT0aXcWmYp4KdEfGhJ\",\"object\":\"chat.completion\",\"created\":1767607200,"
                      "\"model\":\"mock-large-2026-01\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                      "\"content\":\"%s\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                      "\"usage\":{\"prompt_tokens\":212,\"completion_tokens\":96,\"total_tokens\":308,"
                      "\"prompt_tokens_details\":{\"cached_tokens\":128,\"audio_tokens\":0},\"completion_tokens_details\":"
                      "{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
                      "\"rejected_prediction_tokens\":0}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_4c2851f862\"}",
                      PROSE));
    const char *frame =
        "data: {\"id\":\"chatcmpl-Bn7sVq2LrT0aXcWmYp4KdEfGhJ\",\"object\":\"chat.completion.chunk\",\"created\":1767607200,"
        "\"model\":\"mock-large-2026-01\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_4c2851f862\","
        "\"choices\":[%s],\"usage\":%s}\n\n";
    for (int i = 0; i < WORDS; i++) {
        struct piece delta =
            text("{\"index\":0,\"delta\":{%s\"content\":\" word%02d\"},\"logprobs\":null,\"finish_reason\":null}",
                 i ? "" : "\"role\":\"assistant\",", i);
        add_event(&chat, i > 0, text(frame, delta.bytes, "null"));
        free(delta.bytes);
    }
    add_event(&chat, 1, text(frame, "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}", "null"));
    add_event(&chat, 0,
              text(frame, "",
                   "{\"prompt_tokens\":212,\"completion_tokens\":200,\"total_tokens\":412,\"prompt_tokens_details\":"
                   "{\"cached_tokens\":128,\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}"));
    add_event(&chat, 0, text("data: [DONE]\n\n"));
}

static void make_messages(void) {
    unary(&messages,
          text("{\"id\":\"msg_01BnQ7sVq2LrT0aXcWmYp4Kd\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
               "\"mock-claude-2026-01\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"stop_reason\":\"end_turn\","
               "\"stop_sequence\":null,\"usage\":{\"input_tokens\":84,\"cache_creation_input_tokens\":0,"
               "\"cache_read_input_tokens\":128,\"output_tokens\":96,\"service_tier\":\"standard\"}}",
               PROSE));
    add_event(&messages, 0,
              text("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":"
                   "\"msg_01BnQ7sVq2LrT0aXcWmYp4Kd\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
                   "\"mock-claude-2026-01\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":"
                   "{\"input_tokens\":84,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":128,"
                   "\"output_tokens\":1,\"service_tier\":\"standard\"}}}\n\n"));
    add_event(&messages, 0,
              text("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
                   "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"));
    for (int i = 0; i < WORDS; i++)
        add_event(&messages, i > 0,
                  text("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
                       "{\"type\":\"text_delta\",\"text\":\" word%02d\"}}\n\n",
                       i));
    add_event(&messages, 1,
              text("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"));
    add_event(&messages, 0,
              text("event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
                   "\"stop_sequence\":null},\"usage\":{\"input_tokens\":84,\"cache_creation_input_tokens\":0,"
                   "\"cache_read_input_tokens\":128,\"output_tokens\":200}}\n\n"));
    add_event(&messages, 0, text("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

/* The chunk that ends the body goes with the last event, as servers send it. */
static void close_streams(struct answer *of) {
    struct piece *last = &of->events[of->count - 1];
    last->bytes = realloc(last->bytes, last->size + 5);
    if (!last->bytes) abort();
    memcpy(last->bytes + last->size, "0\r\n\r\n", 5);
    last->size += 5;
}

/* One MARK=FILE. */
static void prepare(char *option) {
    char *name = strchr(option, '=');
    FILE *file = name ? fopen(name + 1, "rb") : NULL;
    if (!file || prepared_count == 16) {
        fprintf(stderr, "upstream: %s cannot be had\n", option);
        exit(2);
    }
    *name = 0;
    struct prepared *made = &prepared[prepared_count++];
    made->mark = option;
    size_t size;
    int waits;
    for (int at = 0; fscanf(file, "%zu %d", &size, &waits) == 2; at++) {
        struct piece piece = {malloc(size + 1), size, waits};
        if (!piece.bytes || fgetc(file) != '\n' || fread(piece.bytes, 1, size, file) != size || at >= EVENTS_MAX) abort();
        if (at == 0) made->answer.whole = piece;
        else if (at == 1) made->answer.head = piece;
        else made->answer.events[made->answer.count++] = piece;
    }
    fclose(file);
    if (made->answer.count) close_streams(&made->answer);
}

/* --- connections ------------------------------------------------------------------------------------------------ */

static void leave_wheel(struct conn *c) {
    if (!c->in_wheel) return;
    if (c->earlier) c->earlier->later = c->later;
    else wheel[c->due % SLOTS] = c->later;
    if (c->later) c->later->earlier = c->earlier;
    c->in_wheel = 0;
    paced_open--;
}

static void enter_wheel(struct conn *c) {
    struct conn **slot = &wheel[c->due % SLOTS];
    c->earlier = NULL;
    c->later = *slot;
    if (*slot) (*slot)->earlier = c;
    *slot = c;
    c->in_wheel = 1;
    paced_open++;
}

static void drop(struct conn *c) {
    if (c->phase == ANSWERING) aborted++;
    leave_wheel(c);
    conns[c->fd] = NULL;
    close(c->fd);
    free(c);
    open_conns--;
}

static void watch_out(struct conn *c, int wanted) {
    if (c->wants_out == wanted) return;
    c->wants_out = wanted;
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* 1 = all of it is with the kernel, 0 = the rest waits for EPOLLOUT, -1 = the connection is dead */
static int push(struct conn *c) {
    while (c->out_left) {
        ssize_t sent = send(c->fd, c->out, c->out_left, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return -1;
            watch_out(c, 1);
            return 0;
        }
        c->out += sent;
        c->out_left -= (size_t)sent;
    }
    watch_out(c, 0);
    return 1;
}

static int put(struct conn *c, const struct piece *p) {
    c->out = p->bytes;
    c->out_left = p->size;
    return push(c);
}

static void ready(struct conn *c) {
    c->phase = READING_HEAD;
    c->head_size = 0;
    c->answer = NULL;
}

/* Send what may be sent now. -1 = the connection is dead. */
static int advance(struct conn *c, uint64_t now) {
    if (c->phase != ANSWERING) return 0;
    if (c->out_left) {
        int state = push(c);
        if (state <= 0) return state;
    }
    if (!c->answer) {
        ready(c);
        return 0;
    }
    while (c->next < c->answer->count) {
        const struct piece *event = &c->answer->events[c->next];
        if (c->pace && event->waits && c->due > now) {
            if (!c->in_wheel) enter_wheel(c);
            return 0;
        }
        c->next++;
        /* The time of the next one counts from when this one was due: a late write does not slow the stream down. */
        if (c->next < c->answer->count && c->answer->events[c->next].waits) c->due += c->pace;
        int state = put(c, event);
        if (state <= 0) return state;
    }
    ready(c);
    return 0;
}

static int marker(const char *where, size_t size, unsigned *pace) {
    const char *found = memmem(where, size, "paced", 5);
    if (found && found + 5 < where + size) *pace = (unsigned)atoi(found + 5);
    return memmem(where, size, "\"stream\":true", 13) || memmem(where, size, "\"stream\": true", 14);
}

static int begin(struct conn *c) {
    c->phase = ANSWERING;
    if (c->get) {
        char body[200];
        int size = snprintf(body, sizeof body, "{\"served\":%ld,\"streams\":%ld,\"connections\":%ld,\"aborted\":%ld}", served,
                            streams, open_conns, aborted);
        size = snprintf(stats_answer, sizeof stats_answer,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", size, body);
        struct piece whole = {stats_answer, (size_t)size, 0};
        int state = put(c, &whole);
        if (state == 1) ready(c);
        return state < 0 ? -1 : 0;
    }
    served++;
    size_t first = c->body_size < EDGE ? (size_t)c->body_size : EDGE;
    c->pace = 0;
    int stream = marker(c->first, first, &c->pace);
    if (c->body_size > EDGE) {
        unsigned pace = 0;
        stream |= marker(c->last + EDGE - c->last_size, c->last_size, &pace);
        if (pace) c->pace = pace;
    }
    const struct answer *answer = c->asked;
    if (!stream && answer->whole.size) {
        int state = put(c, &answer->whole);
        if (state == 1) ready(c);
        return state < 0 ? -1 : 0;
    }
    streams++;
    c->answer = answer;
    c->next = 0;
    c->due = now_ms();
    int state = put(c, &answer->head);
    return state < 0 ? -1 : state == 0 ? 0 : advance(c, c->due);
}

static void keep_ends(struct conn *c, const char *data, size_t size) {
    if (c->body_size < EDGE) {
        size_t room = EDGE - (size_t)c->body_size;
        memcpy(c->first + c->body_size, data, size < room ? size : room);
    }
    if (c->body_size + size > EDGE) {
        if (size >= EDGE) {
            memcpy(c->last, data + size - EDGE, EDGE);
            c->last_size = EDGE;
        } else {
            memmove(c->last, c->last + size, EDGE - size);
            memcpy(c->last + EDGE - size, data, size);
            c->last_size = c->last_size + size > EDGE ? EDGE : c->last_size + size;
        }
    }
    c->body_size += size;
}

/* The head is complete. -1 = it is not one of ours. */
static int understand(struct conn *c) {
    c->get = !memcmp(c->head, "GET ", 4);
    char *line_end = memmem(c->head, c->head_size, " HTTP/1.1\r\n", 11);
    if (!line_end) return -1;
    c->asked = line_end - c->head > 9 && !memcmp(line_end - 9, "/messages", 9) ? &messages : &chat;
    for (int i = 0; i < prepared_count; i++)
        if (memmem(c->head, (size_t)(line_end - c->head) + 1, prepared[i].mark, strlen(prepared[i].mark)))
            c->asked = &prepared[i].answer;
    c->body_left = c->body_size = 0;
    c->last_size = 0;
    for (char *line = line_end + 11; *line != '\r';) {
        if (!strncasecmp(line, "content-length:", 15)) c->body_left = strtoull(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding:", 18)) return -1;
        if (!strncasecmp(line, "expect:", 7) && send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL) < 0) return -1;
        line = strchr(line, '\n') + 1;
    }
    return 0;
}

static int feed(struct conn *c, const char *data, size_t size) {
    if (c->phase == ANSWERING) return -1; /* nobody here pipelines */
    if (c->phase == READING_HEAD) {
        size_t room = HEAD_MAX - 1 - c->head_size, before = c->head_size;
        size_t taken = size < room ? size : room;
        memcpy(c->head + c->head_size, data, taken);
        c->head_size += taken;
        c->head[c->head_size] = 0;
        size_t from = before > 3 ? before - 3 : 0;
        char *end = memmem(c->head + from, c->head_size - from, "\r\n\r\n", 4);
        if (!end) return taken == room ? -1 : 0;
        size_t head = (size_t)(end - c->head) + 4;
        c->head_size = head;
        if (understand(c)) return -1;
        data += head - before;
        size -= head - before;
        c->phase = READING_BODY;
    }
    if (size > c->body_left) return -1;
    if (size) keep_ends(c, data, size);
    c->body_left -= size;
    return c->body_left ? 0 : begin(c);
}

static void readable(struct conn *c) {
    for (;;) {
        ssize_t got = recv(c->fd, scratch, sizeof scratch, 0);
        if (got > 0) {
            if (feed(c, scratch, (size_t)got) < 0) {
                drop(c);
                return;
            }
            if ((size_t)got == sizeof scratch) continue;
            return;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        drop(c);
        return;
    }
}

static void turn_wheel(uint64_t now) {
    for (; wheel_now <= now; wheel_now++) {
        struct conn *c = wheel[wheel_now % SLOTS];
        while (c) {
            struct conn *later = c->later;
            if (c->due <= now) {
                leave_wheel(c);
                /* A stream whose last event still waits in the socket goes on when that is out. */
                if (!c->out_left && advance(c, now) < 0) drop(c);
            }
            c = later;
        }
    }
}

static int patience(uint64_t now) {
    if (!paced_open) return -1;
    for (uint64_t t = wheel_now; t < wheel_now + SLOTS; t++)
        if (wheel[t % SLOTS]) return t <= now ? 0 : (int)(t - now);
    return 1;
}

static void welcome(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0) return;
        struct conn *c = fd < FDS ? calloc(1, sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        conns[fd] = c;
        open_conns++;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int count, char **args) {
    int port = 0, option, one = 1;
    while ((option = getopt(count, args, "p:a:")) != -1) {
        if (option == 'p') port = atoi(optarg);
        if (option == 'a') prepare(optarg);
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files = {FDS, FDS};
    setrlimit(RLIMIT_NOFILE, &files);
    make_chat();
    make_messages();
    close_streams(&chat);
    close_streams(&messages);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, (void *)&address, size) || listen(listener, 4096) || getsockname(listener, (void *)&address, &size)) {
        perror("upstream");
        return 1;
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    wheel_now = now_ms();
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 1024, patience(now_ms()));
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                welcome(listener);
                continue;
            }
            struct conn *c = conns[fd];
            if (c && events[i].events & EPOLLOUT && advance(c, now_ms()) < 0) {
                drop(c);
                c = NULL;
            }
            if (c && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        }
        if (paced_open) turn_wheel(now_ms());
        else wheel_now = now_ms();
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * <udrv/protocol.h>: a driver's end of what it shares with `udrv run --restart`
 * (docs/driver-protocol.md), for programs in C. Those in C++ call driver_main() of
 * <udrv/driver.hpp> instead.
 *
 *	struct udrv_supervised self;
 *
 *	if (udrv_supervised_begin(&self) < 0)
 *		...;
 *	...what needs no device...
 *	if (!udrv_wait_for_turn(&self))
 *		return 0;
 *	...open the device, bring it up...
 *	udrv_say_serving(&self);
 *	for (;;) {
 *		...serve, at most self.deadline_ms / 4 at once...
 *		udrv_beat(&self);
 *	}
 *
 * All of it works without a supervisor, too: then there is nothing to wait for.
 */
#ifndef UDRV_PROTOCOL_H
#define UDRV_PROTOCOL_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define UDRV_PROTOCOL_VERSION	"1"
#define UDRV_HEARTBEAT_BYTES	4096

struct udrv_supervised {
	int turn_fd;		/* -1: nobody supervises this process */
	int status_fd;
	unsigned int deadline_ms;	/* 0: nobody looks at the beats */
	uint64_t *beats;	/* shared: one store a beat */
	uint64_t count;
};

/* The number in a variable of the environment; -1 and errno if there is none. */
static inline long udrv_env_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	long value;

	errno = EINVAL;
	if (!text || *text < '0' || *text > '9')
		return -1;
	value = strtol(text, &end, 10);
	return *end == '\0' && value <= INT32_MAX ? value : -1;
}

/* 1: a supervisor started this process; 0: it did not; -1: errno says what is wrong. */
static inline int udrv_supervised_begin(struct udrv_supervised *self)
{
	static const char *const names[] = {
		"UDRV_PROTOCOL", "UDRV_TURN_FD", "UDRV_STATUS_FD",
		"UDRV_HEARTBEAT_FD", "UDRV_DEADLINE_MS",
	};
	const char *protocol = getenv("UDRV_PROTOCOL");
	long turn, status, page, deadline;
	void *memory;
	unsigned int n;

	memset(self, 0, sizeof(*self));
	self->turn_fd = -1;
	self->status_fd = -1;
	if (!protocol)
		return 0;
	if (strcmp(protocol, UDRV_PROTOCOL_VERSION) != 0) {
		errno = EPROTO;
		return -1;
	}
	turn = udrv_env_number("UDRV_TURN_FD");
	status = udrv_env_number("UDRV_STATUS_FD");
	page = udrv_env_number("UDRV_HEARTBEAT_FD");
	deadline = udrv_env_number("UDRV_DEADLINE_MS");
	if (turn < 0 || status < 0 || page < 0 || deadline < 0)
		return -1;
	memory = mmap(NULL, UDRV_HEARTBEAT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		      (int)page, 0);
	if (memory == MAP_FAILED)
		return -1;
	close((int)page);
	self->turn_fd = (int)turn;
	self->status_fd = (int)status;
	self->deadline_ms = (unsigned int)deadline;
	self->beats = (uint64_t *)memory;
	fcntl(self->turn_fd, F_SETFD, FD_CLOEXEC);
	fcntl(self->status_fd, F_SETFD, FD_CLOEXEC);
	for (n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		unsetenv(names[n]);
	return 1;
}

/* Signals that are blocked until the turn comes. */
static inline void udrv_supervision_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
}

/*
 * Says that this process is ready, and waits. 1: its turn has come, signals are open;
 * 0: it is not needed and exits with status 0. Install your signal handlers before.
 */
static inline int udrv_wait_for_turn(struct udrv_supervised *self)
{
	struct signalfd_siginfo info;
	struct pollfd files[2];
	sigset_t set;
	int turn = 0, stop = 0;
	char byte;

	if (self->turn_fd < 0)
		return 1;
	udrv_supervision_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGHUP, SIG_IGN);	/* a terminal's, which the supervisor takes */
	files[0].fd = self->turn_fd;
	files[0].events = POLLIN;
	files[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	files[1].events = POLLIN;
	if (files[1].fd < 0 || write(self->status_fd, "ready\n", 6) != 6)
		return 0;
	while (!turn && !stop) {
		files[0].revents = 0;
		(void)poll(files, 2, -1);
		if (files[0].revents) {
			turn = read(self->turn_fd, &byte, 1) == 1;
			stop = !turn;	/* the supervisor ended, or does without us */
		}
		while (read(files[1].fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
			if (info.ssi_signo == SIGTERM)
				stop = 1;
		}
	}
	close(files[1].fd);
	close(self->turn_fd);
	self->turn_fd = -1;
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return !stop;
}

/* The device is up; from now on beats are due. */
static inline void udrv_say_serving(const struct udrv_supervised *self)
{
	if (self->status_fd >= 0 && write(self->status_fd, "serving\n", 8) != 8)
		return;		/* the supervisor is gone, and we go with it */
}

/* Progress: at least four times a deadline, from the loop that does the work. */
static inline void udrv_beat(struct udrv_supervised *self)
{
	if (self->beats)
		__atomic_store_n(self->beats, ++self->count, __ATOMIC_RELAXED);
}

#endif /* UDRV_PROTOCOL_H */

/* A router's clock, for tests: LD_PRELOAD. CLOCK_SHIFT: seconds that are added to the real time; CLOCK_STATE: what the
 * kernel says of its clock (adjtimex(2): 0 it is synchronised, 5 it is not). Monotonic clocks stay as they are. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long setting(const char *name)
{
	const char *text = getenv(name);
	return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *to)
{
	long result = syscall(SYS_clock_gettime, clock, to);
	if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		to->tv_sec += setting("CLOCK_SHIFT");
	return (int)result;
}

time_t time(time_t *to)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (to)
		*to = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *restrict to, void *restrict zone)
{
	struct timespec now;
	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	to->tv_sec = now.tv_sec;
	to->tv_usec = now.tv_nsec / 1000;
	return 0;
}

int adjtimex(void *state)
{
	(void)state;
	return (int)setting("CLOCK_STATE");
}

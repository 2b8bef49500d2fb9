/* Runs a known number of instructions, and prints how many nanoseconds of CPU a thousand of them took: where a clock
 * counts instructions this says how it counts. x86-64. */

#include <stdio.h>
#include <time.h>

#define TIMES 200000000UL /* two instructions each */

static double cpu_s(void)
{
    struct timespec at;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

int main(void)
{
    unsigned long left = TIMES;
    double begun = cpu_s();

    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(left) : : "cc");
    printf("%.3f\n", (cpu_s() - begun) * 1e12 / (2.0 * TIMES));
    return 0;
}

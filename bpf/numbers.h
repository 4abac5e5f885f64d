/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* Numbers of the system calls that the probe tells apart itself; user space knows the others. */
#ifndef KTRACE_NUMBERS_H
#define KTRACE_NUMBERS_H

#define NO_CALL 0xffff /* this architecture does not have it */

#ifdef KT_X86
#define NR_ACCEPT 43
#define NR_ACCEPT4 288
#define NR_DUP 32
#define NR_DUP2 33
#define NR_DUP3 292
#define NR_EPOLL_PWAIT 281
#define NR_EPOLL_PWAIT2 441
#define NR_EPOLL_WAIT 232
#define NR_FCNTL 72
#define NR_GETPEERNAME 52
#define NR_GETSOCKOPT 55
#define NR_POLL 7
#define NR_PPOLL 271
#define NR_PSELECT6 270
#define NR_RECVFROM 45
#define NR_RECVMSG 47
#define NR_SELECT 23
#define NR_SETSOCKOPT 54
#endif

#ifdef KT_ARM64
#define NR_ACCEPT 202
#define NR_ACCEPT4 242
#define NR_DUP 23
#define NR_DUP2 NO_CALL
#define NR_DUP3 24
#define NR_EPOLL_PWAIT 22
#define NR_EPOLL_PWAIT2 441
#define NR_EPOLL_WAIT NO_CALL
#define NR_FCNTL 25
#define NR_GETPEERNAME 205
#define NR_GETSOCKOPT 209
#define NR_POLL NO_CALL
#define NR_PPOLL 73
#define NR_PSELECT6 72
#define NR_RECVFROM 207
#define NR_RECVMSG 212
#define NR_SELECT NO_CALL
#define NR_SETSOCKOPT 208
#endif

#endif

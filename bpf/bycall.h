/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * A program for each system call, hung on the kernel's function of that call (KT_BY_CALL).
 *
 * Since Linux 7.0 the programs of tracepoints can be preempted, and until such a run goes on the kernel
 * skips its program for every other task on that CPU.  Two programs that see all calls of the machine
 * would miss whole time slices.  These see only their own calls, each skips alone, and preemption is off
 * but for their first and last instructions.  What they are called with has the layout of the raw
 * tracepoints: the registers, then the result.
 */
#ifndef KTRACE_BYCALL_H
#define KTRACE_BYCALL_H

#define CALLED(name, function, action)                   \
	SEC("fentry/" function)                          \
	int call_##name(ENTER_CONTEXT *ctx)              \
	{                                                \
		return UNDISTURBED(action);              \
	}

#define RETURNED(name, kin)                              \
	SEC("fexit/__x64_sys_" #name)                    \
	int return_##name(EXIT_CONTEXT *ctx)             \
	{                                                \
		return UNDISTURBED(on_exit_##kin(ctx));  \
	}

#define ALONE(name, action) CALLED(name, "__x64_sys_" #name, action)
#define PAIR(name, kin, action) ALONE(name, action) RETURNED(name, kin)

/* The arguments still stand there; where an exit was skipped, what its entry left is not this call's. */
INLINE int on_exit_setting(EXIT_CONTEXT *ctx)
{
	return matters(ARG(ctx, 1), ARG(ctx, 2)) ? on_exit_setsockopt(ctx) : 0;
}

PAIR(socket, socket, on_enter_socket(ctx))
PAIR(connect, connect, on_enter_connect(ctx))
PAIR(accept, accept, on_enter_accept(ctx, NR_ACCEPT))
PAIR(accept4, accept, on_enter_accept(ctx, NR_ACCEPT4))
PAIR(listen, listen, on_enter_listen(ctx))
PAIR(setsockopt, setting, on_enter_setsockopt(ctx))
PAIR(getsockopt, asking, on_enter_asking(ctx, NR_GETSOCKOPT))
PAIR(getpeername, asking, on_enter_asking(ctx, NR_GETPEERNAME))
ALONE(close, on_enter_close(ctx))
ALONE(close_range, on_enter_close_range(ctx))
ALONE(shutdown, on_enter_shutdown(ctx))
PAIR(dup, dup, on_enter_dup(ctx, NR_DUP))
PAIR(dup2, dup, on_enter_dup(ctx, NR_DUP2))
PAIR(dup3, dup, on_enter_dup(ctx, NR_DUP3))
PAIR(fcntl, dup, on_enter_dup(ctx, NR_FCNTL))
ALONE(epoll_ctl, on_enter_epoll_ctl(ctx))
PAIR(epoll_wait, epoll, on_enter_wait(ctx, NR_EPOLL_WAIT))
PAIR(epoll_pwait, epoll, on_enter_wait(ctx, NR_EPOLL_PWAIT))
PAIR(epoll_pwait2, epoll, on_enter_wait(ctx, NR_EPOLL_PWAIT2))
PAIR(poll, poll, on_enter_wait(ctx, NR_POLL))
PAIR(ppoll, poll, on_enter_wait(ctx, NR_PPOLL))
PAIR(select, select, on_enter_wait(ctx, NR_SELECT))
PAIR(pselect6, select, on_enter_wait(ctx, NR_PSELECT6))
PAIR(recvfrom, asking, on_enter_asking(ctx, NR_RECVFROM))
PAIR(recvmsg, asking, on_enter_asking(ctx, NR_RECVMSG))
ALONE(io_uring_setup, on_enter_io_uring(ctx))
ALONE(io_uring_enter, on_enter_io_uring(ctx))

/*
 * A call that a seccomp filter refuses never comes to its function.  What asks the filter says so, and the
 * result stands in the registers already.
 */
INLINE int on_asked(void *ctx, int permits(__u64 answer))
{
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 answer = 0;

	if (bpf_get_func_ret(ctx, &answer) || permits(answer) || REG(regs, orig_ax) != NR_SETSOCKOPT)
		return 0;
	return on_refused_setsockopt(kt_hand_over(ctx), REG(regs, ax));
}

#define ASKED(name, function, permitted)            \
	INLINE int permits_##name(__u64 answer)     \
	{                                           \
		return permitted;                   \
	}                                           \
	SEC("fexit/" function)                      \
	int return_##name(__u64 *ctx)               \
	{                                           \
		return UNDISTURBED(on_asked(ctx, permits_##name)); \
	}

ASKED(permitted, "__seccomp_permit_syscall", answer & 1) /* 7.3 */
ASKED(computed, "__secure_computing", (int)answer != -1)

/* 32-bit programs have functions of their own, where the kernel takes such programs. */
CALLED(foreign_socketcall, "__ia32_compat_sys_socketcall", on_foreign(ctx, NR32_SOCKETCALL))
CALLED(foreign_socket, "__ia32_sys_socket", on_foreign(ctx, NR32_SOCKET))
CALLED(foreign_connect, "__ia32_sys_connect", on_foreign(ctx, NR32_CONNECT))
CALLED(foreign_setsockopt, "__ia32_sys_setsockopt", on_foreign(ctx, NR32_SETSOCKOPT))

#endif

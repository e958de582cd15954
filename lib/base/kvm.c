/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That /dev/kvm opens proves little. Inside clouds and containers one meets a KVM that creates
 * machines and then runs only kernels made for it (PVM, which has no hardware underneath and
 * interprets everything else), or that hangs. So a real machine is made and must do, in 64-bit
 * mode, what a kernel does before it prints its first line: CPUID, MSRs, a new page table, going to
 * user mode and coming back by a system call, and a good many rounds of work, in both modes, at
 * about the speed at which this processor does the same work without KVM. (A fixed speed would
 * refuse KVM within an emulated machine, which is slow but sound.)
 *
 * The guest's physical memory (the host's view of it is one anonymous mapping):
 *   0x1000 PML4, 0x2000 a second PML4, 0x3000 PDPT, 0x4000 PD: the first 2 MiB map to themselves
 *   0x5000 the code below, position independent
 *   0x8000 what the code works on
 * Page table bits and control registers: Intel SDM volume 3A, 2.5 and 4.5. Machine calls: the
 * kernel's Documentation/virt/kvm/api.rst.
 *
 * All of it happens in a child with a limit on CPU time, because a vCPU that makes no progress sits
 * in the kernel until a signal ends it. CPU time, not time on the clock: a busy machine must not be
 * mistaken for a broken one. Making the machine is not counted: within an emulated machine it takes
 * ten times as long as the guest's work.
 */
#include "base/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#ifdef __x86_64__

enum {
	GUEST_MEMORY = 0x10000,
	GUEST_PML4 = 0x1000,
	GUEST_PML4_AGAIN = 0x2000,
	GUEST_PDPT = 0x3000,
	GUEST_PD = 0x4000,
	GUEST_CODE = 0x5000,
	GUEST_DATA = 0x8000,
	DONE_PORT = 0xf4,
	/* Rounds of work in each mode: about two million instructions, milliseconds on hardware.
	 * Where the kernel's are interpreted it was measured to take 300 times as long as without
	 * KVM (0.6 s), with KVM within QEMU's emulation 3 to 6 times (20 to 70 ms). */
	ROUNDS = 300000,
	SLOWER_AT_MOST = 40,
	CPU_LEAST_US = 50000,
	WALL_LIMIT_MS = 5000,
};

/* What the guest does; %rsi holds the second page table, %rdi the data, %rbx its own address,
 * %r9 the rounds of work. */
extern const uint8_t kvm_guest_code[], kvm_guest_code_end[];
__asm__(".pushsection .rodata\n"
	"kvm_guest_code:\n"
	"	mov %rbx, %r8\n"
	"	xor %eax, %eax\n"
	"	cpuid\n"
	"	mov $0xc0000081, %ecx\n" /* STAR: the segments of system calls */
	"	xor %eax, %eax\n"
	"	mov $0x00180008, %edx\n"
	"	wrmsr\n"
	"	mov $0xc0000082, %ecx\n" /* LSTAR: where a system call arrives */
	"	lea 3f-kvm_guest_code(%r8), %rax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	rdmsr\n"
	"	mov %rsi, %cr3\n"
	"	mov %r9d, %ecx\n" /* work in the kernel */
	"0:	add %rcx, (%rdi)\n"
	"	dec %ecx\n"
	"	jnz 0b\n"
	"	lea 1f-kvm_guest_code(%r8), %rcx\n"
	"	mov $2, %r11d\n"
	"	sysretq\n"
	"1:	mov %r9d, %ecx\n" /* user mode from here */
	"2:	add %rcx, (%rdi)\n"
	"	dec %ecx\n"
	"	jnz 2b\n"
	"	syscall\n"
	"3:	mov (%rdi), %rax\n" /* and the kernel again */
	"	shr $8, %rax\n"
	"	mov $0xf4, %edx\n"
	"	out %eax, %dx\n"
	"	hlt\n"
	"kvm_guest_code_end:\n"
	".popsection\n");

static void guest_fill(uint8_t *memory)
{
	const uint64_t present_write_user = 7, large = 0x80;
	*(uint64_t *)(memory + GUEST_PML4) = GUEST_PDPT | present_write_user;
	*(uint64_t *)(memory + GUEST_PML4_AGAIN) = GUEST_PDPT | present_write_user;
	*(uint64_t *)(memory + GUEST_PDPT) = GUEST_PD | present_write_user;
	*(uint64_t *)(memory + GUEST_PD) = present_write_user | large;
	memcpy(memory + GUEST_CODE, kvm_guest_code, (size_t)(kvm_guest_code_end - kvm_guest_code));
}

static int vcpu_set_cpuid(int kvm, int vcpu)
{
	enum { ENTRIES = 256 };
	_cleanup_free_ struct kvm_cpuid2 *cpuid = calloc(
		1, sizeof *cpuid + ENTRIES * sizeof cpuid->entries[0]);
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ||
		ioctl(vcpu, KVM_SET_CPUID2, cpuid) < 0)
		return -errno;
	return 0;
}

/* 64-bit mode from the first instruction on, as a VMM starts an ELF kernel. */
static int vcpu_set_registers(int vcpu)
{
	struct kvm_sregs sregs;
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	struct kvm_segment code = {.limit = 0xffffffff,
		.selector = 8,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1};
	struct kvm_segment data = code;
	data.selector = 16;
	data.type = 3;
	data.l = 0;
	data.db = 1;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80050033; /* PE MP ET NE WP AM PG */
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x20;   /* PAE */
	sregs.efer = 0x501; /* SCE LME LMA */
	struct kvm_regs regs = {.rip = GUEST_CODE,
		.rbx = GUEST_CODE,
		.rsi = GUEST_PML4_AGAIN,
		.rdi = GUEST_DATA,
		.r9 = ROUNDS,
		.rflags = 2};
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

/* The guest's work, done here. Answers the CPU time it took in microseconds. */
static int64_t work_measure(void)
{
	volatile uint64_t sum = 0;
	struct timespec before, after;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	for (int mode = 0; mode < 2; mode++)
		for (uint32_t i = ROUNDS; i; i--)
			sum += i;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	return (int64_t)(after.tv_sec - before.tv_sec) * 1000000 +
	       (after.tv_nsec - before.tv_nsec) / 1000;
}

/* From now on the process has this much CPU time before a signal ends it. */
static void limit_start(void)
{
	int64_t us = work_measure() * SLOWER_AT_MOST;
	if (us < CPU_LEAST_US)
		us = CPU_LEAST_US;
	struct itimerval limit = {.it_value = {.tv_sec = us / 1000000, .tv_usec = us % 1000000}};
	setitimer(ITIMER_PROF, &limit, NULL);
}

/* 0 when the guest came to its end with the right sum. */
static int vcpu_run(int kvm, int vcpu)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return -ENOTSUP;
	struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return -errno;
	limit_start();
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		return -errno;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != DONE_PORT || run->io.size != 4)
		return -ENOTSUP;
	uint32_t answer;
	memcpy(&answer, (uint8_t *)run + run->io.data_offset, sizeof answer);
	const uint64_t sum = (uint64_t)ROUNDS * (ROUNDS + 1);
	return answer == (uint32_t)(sum >> 8) ? 0 : -ENOTSUP;
}

static int guest_run(int kvm)
{
	_cleanup_close_ int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		return -errno;
	uint8_t *memory = mmap(
		NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -errno;
	guest_fill(memory);
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_MEMORY, .userspace_addr = (uintptr_t)memory};
	if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) < 0 ||
		ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return -errno;
	_cleanup_close_ int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return -errno;
	int r = vcpu_set_cpuid(kvm, vcpu);
	if (r == 0)
		r = vcpu_set_registers(vcpu);
	return r < 0 ? r : vcpu_run(kvm, vcpu);
}

/* The child: its exit status is an errno. */
static void __attribute__((noreturn)) probe_child(int kvm, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(ECHILD);
	signal(SIGPROF, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	_exit(-guest_run(kvm) & 0xff);
}

/* Wait for the child; answers its wait status, or -1 when it had to be killed. */
static int probe_wait(pid_t child)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	bool ended = pidfd >= 0 && poll(&p, 1, WALL_LIMIT_MS) == 1;
	if (!ended)
		kill(child, SIGKILL);
	int status = -1;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return ended ? status : -1;
}

int kvm_probe(struct ramet_error *err)
{
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 && errno == ENOENT)
		return error_set(err, ENOENT, "there is no /dev/kvm");
	if (kvm < 0)
		return error_errno(err, errno, "/dev/kvm cannot be opened");
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return error_set(err, ENOTSUP, "/dev/kvm speaks another interface version");
	pid_t parent = getpid(), child = fork();
	if (child < 0)
		return error_errno(err, errno, "KVM cannot be tried");
	if (child == 0)
		probe_child(kvm, parent);
	int status = probe_wait(child);
	if (status == 0)
		return 0;
	if (status > 0 && WIFEXITED(status) && WEXITSTATUS(status) != ENOTSUP)
		return error_errno(err, WEXITSTATUS(status), "/dev/kvm does not run a machine");
	return error_set(err, ENOTSUP, "/dev/kvm opens but cannot run a plain kernel");
}

#else

int kvm_probe(struct ramet_error *err)
{
	return error_set(err, ENOTSUP, "ramet uses KVM on x86-64 only");
}

#endif

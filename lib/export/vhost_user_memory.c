/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is checked once, when it comes; every address that a guest names is looked up in it then.
 * There are two or three regions as a rule, and the last one found is tried first.
 */
#include "export/vhost_user_memory.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "export/vhost_user_guard.h"

#define PAGE      ((uint64_t)4096)
#define HUGE_MOST ((uint64_t)1 << 30)

/* Files on hugetlbfs are mapped by huge pages, whose size is their block size. */
static uint64_t page_size(const struct stat *st)
{
	uint64_t block = (uint64_t)st->st_blksize;
	return block > PAGE && block <= HUGE_MOST && (block & (block - 1)) == 0 ? block : PAGE;
}

static int check_file(
	int fd, uint64_t offset, uint64_t size, uint64_t *page, struct ramet_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "shared memory cannot be looked at");
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "shared memory is no file");
	if (size == 0 || !range_within(offset, size, (uint64_t)st.st_size))
		return error_set(err, EINVAL,
			"%llu bytes of shared memory at %llu are not in their file, which has %lld",
			(unsigned long long)size, (unsigned long long)offset,
			(long long)st.st_size);
	*page = page_size(&st);
	return 0;
}

int vhost_map(int fd, uint64_t offset, uint64_t size, struct vhost_mapping *mapping,
	struct ramet_error *err)
{
	uint64_t page = PAGE, length;
	int r = check_file(fd, offset, size, &page, err);
	if (r < 0)
		return r;
	uint64_t start = offset & ~(page - 1);
	if (!checked_round_up(offset - start + size, page, &length) || length > SIZE_MAX / 2)
		return error_set(err, EINVAL, "shared memory is too large");
	void *base = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		fd, (off_t)start);
	if (base == MAP_FAILED)
		return error_errno(err, errno, "cannot map shared memory");
	int guard = guard_add(base, (size_t)length);
	if (guard < 0) {
		munmap(base, (size_t)length);
		return error_set(err, ENOSPC, "there are too many pieces of shared memory");
	}
	madvise(base, (size_t)length, MADV_DONTDUMP);
	*mapping = (struct vhost_mapping){.base = base,
		.length = (size_t)length,
		.start = (uint8_t *)base + (offset - start),
		.guard = guard};
	return 0;
}

void vhost_unmap(struct vhost_mapping *mapping)
{
	if (!mapping->base)
		return;
	guard_remove(mapping->guard);
	munmap(mapping->base, mapping->length);
	*mapping = (struct vhost_mapping){0};
}

/* ------------------------------------------------------------------------------------------- */

static bool overlap(uint64_t one, uint64_t one_size, uint64_t other, uint64_t other_size)
{
	return one < other + other_size && other < one + one_size;
}

static int check_region(const struct vhost_memory *memory, const struct vhost_wire_region *region,
	struct ramet_error *err)
{
	uint64_t end;
	if (memory->count == VHOST_SLOTS)
		return error_set(
			err, ENOSPC, "the memory table has more than %d regions", VHOST_SLOTS);
	if (region->size == 0 || (region->guest | region->size | region->user) % PAGE ||
		region->offset % PAGE)
		return error_set(err, EINVAL, "a region of memory is not of whole pages");
	if (!checked_add(region->guest, region->size, &end) ||
		!checked_add(region->user, region->size, &end))
		return error_set(err, EINVAL, "a region of memory goes beyond all addresses");
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vhost_region *other = &memory->regions[i];
		if (overlap(region->guest, region->size, other->guest, other->size) ||
			overlap(region->user, region->size, other->user, other->size))
			return error_set(err, EINVAL, "regions of memory overlap");
	}
	return 0;
}

int vhost_memory_add(struct vhost_memory *memory, const struct vhost_wire_region *region, int fd,
	struct ramet_error *err)
{
	int r = check_region(memory, region, err);
	if (r < 0)
		return r;
	struct vhost_region *added = &memory->regions[memory->count];
	*added = (struct vhost_region){
		.guest = region->guest, .size = region->size, .user = region->user};
	r = vhost_map(fd, region->offset, region->size, &added->mapping, err);
	if (r == 0)
		memory->count++;
	return r;
}

int vhost_memory_remove(struct vhost_memory *memory, const struct vhost_wire_region *region)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct vhost_region *known = &memory->regions[i];
		if (known->guest != region->guest || known->size != region->size ||
			known->user != region->user)
			continue;
		vhost_unmap(&known->mapping);
		*known = memory->regions[--memory->count];
		memory->last = 0;
		return 0;
	}
	return -ENOENT;
}

void vhost_memory_clear(struct vhost_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++)
		vhost_unmap(&memory->regions[i].mapping);
	memory->count = memory->last = 0;
}

static uint8_t *find(
	const struct vhost_region *region, uint64_t start, uint64_t address, uint64_t *length)
{
	uint64_t at = address - start;
	if (address < start || at >= region->size)
		return NULL;
	*length = MIN(*length, region->size - at);
	return region->mapping.start + at;
}

uint8_t *vhost_memory_guest(struct vhost_memory *memory, uint64_t address, uint64_t *length)
{
	const struct vhost_region *last = &memory->regions[memory->last];
	uint8_t *found = memory->count ? find(last, last->guest, address, length) : NULL;
	for (unsigned i = 0; i < memory->count && !found; i++) {
		const struct vhost_region *region = &memory->regions[i];
		found = find(region, region->guest, address, length);
		memory->last = found ? i : memory->last;
	}
	return found;
}

uint8_t *vhost_memory_user(struct vhost_memory *memory, uint64_t address, uint64_t length)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vhost_region *region = &memory->regions[i];
		uint64_t there = length;
		uint8_t *found = find(region, region->user, address, &there);
		if (found)
			return there == length ? found : NULL;
	}
	return NULL;
}

bool vhost_memory_lost(const struct vhost_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++)
		if (guard_lost(memory->regions[i].mapping.guard))
			return true;
	return false;
}

/* In a file of its own the compiler cannot see through it and read the guest's bytes again. */
void vhost_copy(void *to, const void *from, size_t length)
{
	memcpy(to, from, length);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ramet: disks for microVM fleets.
 *
 * Conventions of the whole interface:
 *  - Functions return 0, or a negative errno and one sentence in *err: what was being done, to
 *    which object, why it failed and, where there is one, what to do. err may be NULL.
 *  - The library never prints, never exits and installs no signal handler.
 *  - Strings handed in are borrowed for the call; strings handed out belong to the library and
 *    live as long as their documentation says.
 *  - Sizes are bytes, times are seconds, unless a name says otherwise.
 *  - A struct ramet_store may be used by one thread at a time. Different stores (of the same
 *    folder too) may be used by different threads and processes at once.
 */
#ifndef RAMET_H
#define RAMET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RAMET_API __attribute__((visibility("default")))

/* A failure: a positive errno and its sentence. Start with {0}. */
struct ramet_error {
	int code;
	char message[2048];
};

/* The version of the library, "MAJOR.MINOR.PATCH". Static. */
RAMET_API const char *ramet_version(void);

/* ------------------------------------------------------------------------------------------- */
/* The store: what images and forks there are.                                                  */

struct ramet_store;

/*
 * Open the store at root, making it when it is not there. root NULL means $RAMET_ROOT, then
 * /var/lib/ramet for root, $XDG_DATA_HOME/ramet or ~/.local/share/ramet for anyone else.
 * Whatever a killed process left half made is rolled back first.
 * Errors: ENOENT, EACCES, ENOSPC, EUCLEAN (the catalogue is damaged), ENOTSUP (newer format).
 */
RAMET_API int ramet_store_open(const char *root, struct ramet_store **out, struct ramet_error *err);
RAMET_API void ramet_store_close(struct ramet_store *store);

/* The folder the store is in: absolute, lives as long as the store. */
RAMET_API const char *ramet_store_root(const struct ramet_store *store);

/* ------------------------------------------------------------------------------------------- */
/* Building an image from a tree.                                                               */

/* A folder or file of the host that takes the place of target in the image. */
struct ramet_bind {
	const char *source; /* a path on the host */
	const char *target; /* an absolute path in the image; missing parents are made */
	bool read_only;     /* the guest sees target as a read-only mount */
};

/* One step of a long operation. Called from the calling thread, at most about 20 times a second. */
struct ramet_progress {
	const char *step; /* "walk", "write", "sync"; static */
	uint64_t done;    /* entries for "walk", bytes of content for "write" */
	uint64_t total;   /* 0 while it is not known */
};
typedef void (*ramet_progress_fn)(void *ctx, const struct ramet_progress *progress);

struct ramet_build_options {
	const char *source; /* a directory, or "KIND:PLACE" (see ramet-build(1)); with layers it may
				    be NULL */
	const char *output; /* the image file; replaced only when the new one is whole */
	const char *format; /* "squashfs" (also for NULL), "erofs" or "ext4" */
	const char *compression; /* squashfs: gzip, xz, lz4, zstd, each with an optional ":LEVEL";
				    NULL: zstd:3. erofs: one that the installed mkfs.erofs has
				    (lz4, lz4hc), NULL: none. ext4: must be NULL */
	const char *const
		*layers; /* sources that lie on the one before, the lowest first. In a directory
				      overlayfs's and OCI's whiteouts take away what is below */
	size_t layer_count;
	const struct ramet_bind *binds;
	size_t bind_count;
	uint64_t size;        /* ext4: bytes of the device, 0: as small as the content allows */
	bool dedupe;          /* erofs: equal chunks of files are stored once */
	bool init;            /* put ramet's guest init at /sbin/overlay-init */
	const char *platform; /* "linux/amd64": which of an image for many; NULL: the host's */
	/* An image file: write only what differs from it, as a layer that stands on it (overlayfs's
	 * whiteouts); NULL: the whole tree. */
	const char *parent;
	/* Image files that stand on parent, as in struct ramet_fork_options; NULL for none. */
	const char *const *parent_layers;
	/* With a parent: compare the bytes of all files. Otherwise a file with the size, the time (as
	 * exact as the parent keeps it) and the attributes that the parent has is taken for
	 * unchanged, unless the time is later than two seconds before the parent was made. */
	bool compare_content;
	/* Write a lazy image: the metadata of the image, and where in the source's files its content
	 * is. No content is read; those files have to stay as they are, for they are the image. It is
	 * served to VMs (ramet-attach(1)). Sources are folders alone, and content is not compressed. */
	bool lazy;
	/* Told what a user should know, one sentence at a time: what a source was taken for, what was
	 * skipped. May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
	ramet_progress_fn progress; /* may be NULL */
	void *progress_ctx;
};

struct ramet_build_result {
	uint64_t entries;       /* files, directories, links, devices */
	uint64_t content_bytes; /* sum of the files' sizes, hard links once */
	uint64_t bytes_read;    /* really read; holes are not */
	uint64_t bytes_written; /* the image's size; for a sparse ext4 what is allocated */
	uint64_t image_bytes;   /* the image file's length */
	double walk_seconds, write_seconds, sync_seconds;
	uint64_t omitted_xattrs; /* attributes that the format cannot hold (POSIX ACLs in squashfs)
				    or nobody knows how to keep */
	char written_by[64];     /* another program that wrote the image, "mkfs.erofs 1.5"; or "" */
	/* With a parent: what differs from it; as in struct ramet_diff_result. */
	uint64_t added, modified, deleted, retyped;
	uint64_t files_compared; /* with a parent: files whose bytes were compared ... */
	uint64_t files_by_time;  /* ... and those taken for unchanged by their time */
	char digest[72]; /* of the image file: "sha256:" and 64 hexadecimal digits. "" for one with
			    more than a GiB of holes; ramet_verify() makes up for it */
	/* Of a lazy image, whose image_bytes are those of the image that it describes, and whose
	 * bytes_written those of the lazy file: the image's metadata, the tables that say where
	 * content is, and how many runs of bytes these tell apart. */
	uint64_t lazy_metadata_bytes, lazy_table_bytes, lazy_extents;
};

/*
 * Build an image. store NULL: the image is written but not listed anywhere. The same tree gives
 * the same bytes; the superblock's time is $SOURCE_DATE_EPOCH, or the newest time in the tree that
 * is not in the future.
 * Errors: ENOENT, EACCES, EINVAL (options), ESTALE (a file changed or vanished during the walk, or
 * the parent during the build), ENOSPC, EFBIG; EOPNOTSUPP (a lazy image of what is not in folders);
 * those of ramet_fork for the parent.
 */
RAMET_API int ramet_build(struct ramet_store *store, const struct ramet_build_options *options,
	struct ramet_build_result *result, struct ramet_error *err);

/*
 * A container's bundle made ready for a microVM in one call. As ramet_build, but options->source is
 * the folder of an OCI runtime bundle ("KIND:PLACE" is what it is for ramet_build), and
 * options->output may be NULL: the bundle's name and ".FORMAT", beside it. The image holds what the
 * bundle's bind mounts show.
 *
 * *json, malloc()ed, the caller frees it: one object with "image" (absolute path), "format",
 * "rootfs_bytes", "image_bytes", "ratio", "entries", "steps" (an array of {"name", "seconds"}),
 * "seconds", "drive" (an entry of Firecracker's "drives"), "process" (args, env, cwd, user as the
 * bundle has them, or null), "read_only_paths", "notes" (sentences: what was left out).
 * Errors: as ramet_build; EBADMSG (config.json), EILSEQ (the image's name is not UTF-8).
 */
RAMET_API int ramet_prepare(struct ramet_store *store, const struct ramet_build_options *options,
	struct ramet_build_result *result, char **json, struct ramet_error *err);

/* ------------------------------------------------------------------------------------------- */
/* Lazy images.                                                                                 */

/* A lazy image whose bytes a plain file has. Strings live until the callback returns. */
struct ramet_materialized {
	const char *lazy, *image; /* paths; image: the plain file */
	const char *format;       /* static */
	bool already;             /* it was there before, and nothing was done for it */
	/* In the background: of the process that makes it, and whether that was at it before. */
	int pid; /* 0: the file is there */
	bool under_way;
	/* Of what was done now. */
	uint64_t image_bytes;   /* the image's length */
	uint64_t content_bytes; /* of it, read from the sources */
	uint64_t bytes_written; /* what the file takes on the disk */
	double seconds;
	const char *digest; /* as in struct ramet_build_result */
};

struct ramet_materialize_options {
	/* A fork (without a slash in it), all of whose lazy images are meant, or the file of one. */
	const char *name;
	/* Where the plain file goes, which takes the place of what is there when it is whole; NULL:
	 * beside the lazy file, ".FORMAT" in place of ".lazy". NULL for several images. */
	const char *output;
	/* As in struct ramet_attach_options; for a lazy image that this store did not write they must be
	 * there. */
	const char *const *sources;
	uint64_t bandwidth; /* bytes of content a second, at most; 0: no bound */
	/* Answer as soon as all that can be checked before was: a process of its own makes the files,
	 * and what becomes of them ramet_forks() and ramet_inspect() tell. Needs a store. An image
	 * without an output that another process makes is no failure then. */
	bool background;
	/* Called once for each image. May be NULL. */
	void (*done)(void *ctx, const struct ramet_materialized *image);
	void *done_ctx;
	ramet_progress_fn progress; /* may be NULL */
	void *progress_ctx;
};

/*
 * Write the image that a lazy image stands for: its metadata, and the content of its sources, each of
 * which is checked to be what the lazy image was built of. Where the catalogue has the lazy image, its
 * forks use the plain file from their next attachment on, and what runs goes on as it is. The disk is
 * used when nobody else wants it (the calling thread's I/O priority is "idle" meanwhile), and nothing is
 * to be seen of the file before it is whole. store NULL: nothing is listed, and name is a file.
 * Of several images none is begun before all were checked.
 * Errors: ENOENT, EACCES, EMEDIUMTYPE (no lazy image), EINVAL (options; a fork without a lazy image),
 * EBUSY (another process makes it just now),
 * EPERM (this store did not write the lazy image, and sources do not name the folders that it names),
 * ESTALE (a source changed or vanished: it is named), EUCLEAN (the lazy file is damaged), ENOTSUP (it is
 * of a newer version), ENOSPC.
 */
RAMET_API int ramet_materialize(struct ramet_store *store,
	const struct ramet_materialize_options *options, struct ramet_error *err);

/*
 * End what makes the images of name in the background, and forget that it failed; also when there is
 * nothing of the kind. each, which may be NULL, is called for each lazy image: stopped, there was a process.
 * Nothing is to be seen of a file that was begun. Errors: ENOENT, EINVAL (no lazy image), EBUSY (it is not
 * made in the background, but by a process that its user has to end), EPERM, ETIMEDOUT (a source hangs
 * in the kernel).
 */
RAMET_API int ramet_materialize_stop(struct ramet_store *store, const char *name,
	void (*each)(void *ctx, const char *lazy, bool stopped), void *ctx,
	struct ramet_error *err);

/* Of a lazy image: who makes a plain file of it, or what became of the last who tried. */
struct ramet_materializing {
	bool at_work;         /* otherwise nobody does, and the last one failed */
	bool background;      /* ramet_materialize_stop() ends it */
	int pid;              /* 0: it begins just now */
	uint64_t done, total; /* bytes of content; total 0: not yet known */
	int64_t since;        /* when it was begun */
	const char *failed;   /* why; NULL: at work */
	const char *log;      /* path of the file with what those in the background said */
};

/* ------------------------------------------------------------------------------------------- */
/* Forks.                                                                                       */

/* How many images may stand one on the other, the base among them. */
#define RAMET_CHAIN_MAX 128

struct ramet_fork_options {
	/* An image file, also a lazy one; or a folder, of which a lazy image is made on the spot. It
	 * is the store's, and goes with the last fork that stands on it. */
	const char *base;
	const char *format; /* of that image: as in struct ramet_build_options; NULL: squashfs */
	/* Image files that stand on the base, each on the one before (layers with overlayfs's
	 * whiteouts), NULL-terminated; NULL for none. */
	const char *const *layers;
	const char *name; /* [A-Za-z0-9][A-Za-z0-9._-]*, at most 64 bytes */
	unsigned count;   /* 0: one fork called name; N: name-1 .. name-N, all or none */
	uint64_t size;    /* bytes of the volume; 0: 10 GiB (overlay) or the base's size (clone) */
	const char *provider; /* "auto" (also for NULL), or a name from ramet_doctor */
	/* Told what a user should know of the folder. May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
};

struct ramet_fork_result {
	const char *provider;                      /* static */
	const char *mode;                          /* "overlay" or "clone"; static */
	uint64_t size;                             /* bytes of each volume */
	char reason[512];                          /* why this provider, one sentence */
	bool lazy;                                 /* a lazy image was made of a folder... */
	uint64_t lazy_entries, lazy_content_bytes; /* ...with so much in it */
};

/*
 * Make one fork or many. When it returns 0 every fork is on disk, whole; otherwise none is there.
 * Where the store knows what a layer was made to stand on, nothing else may be below it.
 * Errors: EEXIST, ENOENT, EINVAL (also a layer without, or over other than, its images), ENOSPC,
 * E2BIG (more than RAMET_CHAIN_MAX images), EMEDIUMTYPE (no image, or a truncated one), EOPNOTSUPP
 * (the provider asked for cannot serve, and why).
 */
RAMET_API int ramet_fork(struct ramet_store *store, const struct ramet_fork_options *options,
	struct ramet_fork_result *result, struct ramet_error *err);

/* An image that stands on the base of a fork. */
struct ramet_layer_info {
	const char *path, *format;
	const char *state; /* "unchanged", "changed" or "missing" */
	bool lazy;
	const char *materialized; /* of a lazy one, the plain file with its bytes; NULL: none */
	const struct ramet_materializing *materializing; /* NULL: there is nothing to tell */
};

/* What is known of one fork. Strings live until the callback returns. */
struct ramet_fork_info {
	const char *name, *base, *format, *mode, *provider,
		*volume;        /* volume: path of the device */
	const char *base_state; /* "unchanged", "changed" or "missing" */
	bool base_lazy;         /* these three: as of a layer */
	const char *base_materialized;
	const struct ramet_materializing *base_materializing;
	const struct ramet_layer_info *layers; /* the bottom one first */
	size_t layer_count;
	const char *read_only_paths; /* that the guest mounts read-only; one a line */
	const char *process;         /* the default command of the topmost image that has one, JSON:
				{"args": [...], "env": [...], "cwd": "/", "user": "app"}, each only
				where the image has it; "" for none */
	uint64_t size;               /* bytes the guest sees */
	uint64_t allocated;          /* bytes really taken on the host */
	int64_t created;             /* seconds since the epoch */
	int holder; /* pid that runs it, 0 when nobody does, -1 when its pid cannot be told */
};
struct ramet_image_info {
	const char *path, *format, *state; /* state: "unchanged", "changed" or "missing" */
	uint64_t size;
	uint64_t forks; /* how many forks stand on it, as base or layer */
	int64_t created;
	const char *digest; /* "sha256:..." of the file, "" when it was never made */
};
typedef int (*ramet_fork_fn)(void *ctx, const struct ramet_fork_info *info);
typedef int (*ramet_image_fn)(void *ctx, const struct ramet_image_info *info);

/* Call each for every fork (by name; numbers in names in order), or for name alone when it is not
 * NULL. A non-zero answer from each ends the listing and is returned. Errors: ENOENT. */
RAMET_API int ramet_forks(struct ramet_store *store, const char *name, ramet_fork_fn each,
	void *ctx, struct ramet_error *err);
RAMET_API int ramet_images(
	struct ramet_store *store, ramet_image_fn each, void *ctx, struct ramet_error *err);

/* Remove a fork and its volume. Errors: ENOENT, EBUSY (in use: the holder's pid is named). */
RAMET_API int ramet_remove(struct ramet_store *store, const char *name, struct ramet_error *err);

/* ------------------------------------------------------------------------------------------- */
/* Running a fork.                                                                              */

struct ramet_run_options {
	const char *name;
	const char *kernel;      /* vmlinux or vmlinuz */
	const char *modules;     /* a /lib/modules/VERSION folder, or NULL: all is built in */
	const char *vmm;         /* "auto" (also for NULL), "firecracker" or "qemu" */
	const char *accelerator; /* "auto", "kvm" or "tcg"; NULL: $RAMET_ACCEL, then "auto" */
	const char *const *argv; /* the guest's command, NULL-terminated; NULL: the image's default
				command, where it has none its own init. Either runs with the environment,
				the folder and the user that the image names */
	bool image_init;     /* without argv: the image's own init, whatever its default command */
	bool ram;            /* overlay mode: keep the writes in memory, leave the volume alone */
	bool in_image_init;  /* boot /sbin/overlay-init of the base instead of an initramfs */
	unsigned vcpus;      /* 0: 1 */
	unsigned memory_mib; /* 0: 512 */
	unsigned timeout;    /* seconds, 0: none */
	const char *append;  /* more kernel arguments, or NULL */
	bool verbose;        /* the kernel's messages are shown */
	bool interactive;    /* a person types at a terminal: the guest echoes and edits lines;
				Ctrl-] three times within a second is a request to end the VM */
	int console_in;      /* fd given to the guest as console input, -1: none */
	int console_out;     /* fd that gets the guest's console */
	/* How the VM reaches drives that have no file: "vhost-user-blk" (also for NULL), "nbd" (QEMU),
	 * "fuse" or "pmem" (the FUSE file, mapped into the guest's memory). Named for a fork whose
	 * images are all files, all its drives are served so. */
	const char *via;
	bool record; /* keep what is read of a lazy base, for later attachments to read ahead */
	/* For the server of such drives: as in struct ramet_attach_options. */
	bool fail_stalled, no_prefetch;
	unsigned stall_seconds;
	uint64_t prefetch_bandwidth;
	const char *const *sources;
	int stop_fd; /* a signalfd or eventfd, -1: none. Each time it is readable it is
				read, and is one request to end the VM: the first asks the guest, the
				second tells the VMM, the third kills it */
	/* Called once, before the guest runs: which VMM and accelerator were taken and, where there
	 * was a choice, why. "qemu with software emulation: there is no /dev/kvm". May be NULL. */
	void (*note)(void *ctx, const char *sentence);
	void *note_ctx;
};

struct ramet_run_result {
	int exit_status; /* the command's, 128 + N when signal N ended it; 0 without a command
				   when the guest powered off */
	const char *vmm; /* "firecracker" or "qemu"; static */
	const char *accelerator; /* "kvm" or "tcg"; static */
	/* Why it ended, when it was not by itself: the time was over, or stop_fd, the console or
	 * the reader of its output asked for it. exit_status says little then. */
	bool timed_out, stopped;
	bool killed; /* the guest did not end when asked: what it had not flushed is lost */
};

/*
 * Run a fork until its VM ends. The fork is locked meanwhile, by this process and by the VMM, and
 * the VMM is killed when the calling thread ends. What the guest prints goes to console_out as it
 * is; console_in is text (0x03 interrupts the command, 0x04 ends its input).
 * Errors: ENOENT, EBUSY (in use, with the holder's pid), ESTALE (the base or a layer is not the one
 * the fork was made of), EPROTO (the guest failed, or ended without saying how: a panic, a crash),
 * ECONNRESET (the VMM died), EOPNOTSUPP (the VMM or accelerator asked for cannot serve), ENOEXEC
 * (the kernel is none), E2BIG (the command is longer than 128 KiB, or, with in_image_init, than a
 * kernel's command line).
 */
RAMET_API int ramet_run(struct ramet_store *store, const struct ramet_run_options *options,
	struct ramet_run_result *result, struct ramet_error *err);

/* A Firecracker configuration file for the fork, JSON, malloc()ed: the caller frees *json.
 * console_*, stop_fd, timeout, note, vmm and accelerator are not used. The initramfs and the
 * unpacked kernel that it names are written into the store. Errors: as ramet_run; EBUSY too, for a
 * second VM on the same volume would destroy it. */
RAMET_API int ramet_config(struct ramet_store *store, const struct ramet_run_options *options,
	char **json, struct ramet_error *err);

/* ------------------------------------------------------------------------------------------- */
/* Serving a fork's drives.                                                                     */

/* One that is served. Strings live until the callback returns. */
struct ramet_served_device {
	const char *name; /* "base", "layer1", "volume" */
	const char
		*address; /* what a client connects to: a URI, the path of a socket or of a file */
	const char *file; /* what it is made of: an image file, a lazy file or the volume */
	bool read_only;
	bool lazy;
	uint64_t size; /* bytes, 0: not known */
	/* What was asked of a read-only one since it was attached, in bytes: by clients; of it, what
	 * was asked for once or more; what had been read before, by them or ahead of them; and what
	 * was read ahead. */
	uint64_t reads, bytes_asked, bytes_unique, bytes_hit, bytes_ahead;
	/* The same in all attachments that the fork ever had it in, and how many those were: sums, so what
	 * was read again in another one counts again. */
	struct {
		uint64_t attachments, reads, bytes_asked, bytes_unique, bytes_hit, bytes_ahead;
	} ever;
};

struct ramet_attachment {
	const char *fork;
	const char *kind; /* "nbd", or "path"; "": nothing serves it now, and this is what was */
	int pid;          /* of the server; 0: there is none */
	bool for_run;     /* `ramet run` started it and will end it */
	const struct ramet_served_device *devices;
	size_t device_count;
	const char *log; /* path of the file with what an operator should read; "" for "path" */
	const char *warnings; /* its last lines, each with its end of line */
};
typedef int (*ramet_attachment_fn)(void *ctx, const struct ramet_attachment *attachment);

struct ramet_attach_options {
	const char *name;
	const char *via; /* one of ramet_exports(), or "path" */
	/* Where: nbd: the path of a socket, or "HOST:PORT". Else, for a single drive the path of its
	 * socket, or the empty folder to mount on; for several a folder, in which each has its own
	 * under its name. NULL: in the fork's folder. */
	const char *address;
	/* Who may use what is served, besides who attaches: "USER" or "USER:GROUP", names or numbers. For
	 * sockets and FUSE, and with an address, for nobody else gets into the store. NULL: nobody. */
	const char *user;
	/* All drives, the volume too. Otherwise the images that are lazy, and where none is, all. */
	bool all;
	bool read_only; /* the volume cannot be written to */
	/* What happens to reads of a source that does not answer for stall_seconds (0: 30): they go on
	 * waiting, and that is noted, or they fail. */
	bool fail_stalled;
	unsigned stall_seconds;
	/* Where the roots of lazy images are now, for those that moved: "DIR" (there is but one root),
	 * "N=DIR" (the N-th root, from 1) or "OLD=DIR". NULL-terminated, or NULL. */
	const char *const *sources;
	bool no_prefetch;            /* do not read ahead what an earlier run recorded */
	uint64_t prefetch_bandwidth; /* bytes a second at most, 0: 256 MiB */
};

/*
 * Serve the drives of a fork until ramet_detach(): by a process of its own, which holds the fork
 * meanwhile. each is told what is served, also when it was served in just this way already. "path"
 * starts nothing: each is told the drives' files.
 * Errors: ENOENT, EINVAL (options), EBUSY (in use, or attached in another way), EOPNOTSUPP (this host,
 * or this ramet, has no such export; a lazy image has no path), ESTALE (an image is not the one that
 * the fork was made of), EPERM (a lazy file that this store did not make names folders: say them with
 * sources), and what the export answers.
 */
RAMET_API int ramet_attach(struct ramet_store *store, const struct ramet_attach_options *options,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err);
/*
 * End serving the fork; also when nothing is served. What a server left that was killed is tidied up.
 * A server that `ramet run` started is ended only with force: its guest gets I/O errors.
 * Errors: ENOENT, EBUSY, ETIMEDOUT (the server cannot be ended: a source hangs in the kernel).
 */
RAMET_API int ramet_detach(
	struct ramet_store *store, const char *name, bool force, struct ramet_error *err);
/* Call each for the attachment of the fork, or, for their figures, for the last one there was; not at
 * all for a fork that was never attached. Errors: ENOENT. */
RAMET_API int ramet_attachments(struct ramet_store *store, const char *name,
	ramet_attachment_fn each, void *ctx, struct ramet_error *err);

struct ramet_export_info {
	const char *name, *summary; /* static */
};
/* The ways out, ended by one without a name. Static. */
RAMET_API const struct ramet_export_info *ramet_exports(void);

/* ------------------------------------------------------------------------------------------- */
/* What a fork changed.                                                                         */

struct ramet_diff_options {
	const char *name;
	const char *form; /* "list" (also for NULL), "json", "tar" or "patch" */
	const char *const
		*paths; /* NULL-terminated absolute paths that limit the answer, or NULL */
	int fd;         /* where the answer goes */
};

struct ramet_diff_result {
	uint64_t added, modified, deleted, retyped;
	uint64_t omitted; /* changes that the form cannot express (patch: owners, devices...) */
	bool journal_replayed; /* the VM did not unmount; its journal was replayed in memory */
};

/*
 * Say what a fork changed. The volume is parsed in a sandboxed child and never written to.
 * On failure what was written to fd is not whole and must be thrown away.
 * Errors: ENOENT, EBUSY (the fork runs), EUCLEAN (damaged by the guest, with what is damaged),
 * ESTALE (the base is not the one the fork was made of), EPIPE, ENOSPC.
 */
RAMET_API int ramet_diff(struct ramet_store *store, const struct ramet_diff_options *options,
	struct ramet_diff_result *result, struct ramet_error *err);

/* ------------------------------------------------------------------------------------------- */
/* A fork as an image.                                                                          */

struct ramet_commit_options {
	const char *name;
	const char *output;      /* the image file; replaced only when the new one is whole */
	const char *format;      /* as in struct ramet_build_options */
	const char *compression; /* the same */
	uint64_t size;           /* the same */
	/* Write all that the fork holds, as an image that stands on nothing. Otherwise only what the
	 * fork changed, as a layer that stands on the images that the fork stands on. */
	bool flatten;
	ramet_progress_fn progress; /* may be NULL */
	void *progress_ctx;
};

struct ramet_commit_result {
	struct ramet_build_result image; /* added and so on are 0 for a flattened image */
	bool journal_replayed;           /* as in struct ramet_diff_result */
};

/*
 * Seal what a fork holds as an image. The fork may go on afterwards; it and its volume stay as they
 * are. A fork of the layer over what it stands on, or of the flattened image, sees what this one
 * sees. The image keeps the read-only paths and the default command of those that the fork stands
 * on. The volume is parsed in a sandboxed child.
 * Errors: those of ramet_diff, but for EPIPE; EINVAL (options; a 0/0 character device, which only a
 * flattened image can hold).
 */
RAMET_API int ramet_commit(struct ramet_store *store, const struct ramet_commit_options *options,
	struct ramet_commit_result *result, struct ramet_error *err);

/* ------------------------------------------------------------------------------------------- */
/* Looking into images. All of them are read in a sandboxed child: an image may be anybody's.   */

/* A place in an image, or in images that stand one on the other. */
struct ramet_place {
	const char *image;         /* an image file */
	const char *const *layers; /* what stands on it, as in ramet_fork_options; or NULL */
	const char
		*path; /* in the image; "" and "/" are its root. Symlinks in the middle of it, and
			     one before a '/' at its end, are followed within the image, ".." stops
			     at the root */
};

struct ramet_list_options {
	struct ramet_place place;
	const char *form; /* "names" (also for NULL), "long" or "json" */
	bool recursive;   /* all that is below, too */
	bool disarm;      /* '?' for control characters in names; not in JSON, which escapes them */
	int fd;           /* where the listing goes */
};

/*
 * List a directory, or one file, of an image. A symlink at the end of the path is listed as itself.
 * *entries (may be NULL): how many there were. On failure what was written is not whole.
 * Errors: ENOENT, ENOTDIR, ELOOP (of the path), EMEDIUMTYPE (no image), EUCLEAN (damaged, with what
 * is damaged), EOPNOTSUPP (the image cannot be read here), EPIPE, ENOSPC.
 */
RAMET_API int ramet_image_list(
	const struct ramet_list_options *options, uint64_t *entries, struct ramet_error *err);

struct ramet_read_options {
	struct ramet_place place; /* a symlink at its end is followed, too */
	bool files_only;          /* a directory is refused */
	int fd;                   /* where the bytes go */
};

struct ramet_read_result {
	bool directory;   /* it was one, and a tar was written */
	uint64_t omitted; /* objects that a tar cannot hold, wholly or in part: sockets */
};

/*
 * Write a file's content to fd; or, of a directory, a tar with all that is in it, whose names begin
 * with the directory's own name ("./" for the root and for a path that ends in "/."). Holes stay
 * holes where fd is a regular file and at its end. A tar is not written to a terminal.
 * Errors: as ramet_image_list; EISDIR (a directory that was not wanted), EINVAL (a device, fifo or
 * socket), ENOTTY (a tar to a terminal).
 */
RAMET_API int ramet_image_read(const struct ramet_read_options *options,
	struct ramet_read_result *result, struct ramet_error *err);

/* What an image is. Strings live until the callback returns; "" and 0 stand for what the format does
 * not have or the image does not say. */
struct ramet_inspection {
	const char *path; /* absolute */
	const char *format, *version, *compression, *label, *uuid;
	const char *features;                 /* names with a blank between them */
	const char *journal;                  /* "clean", "needs recovery" or "none" */
	const char *fs_state;                 /* "clean", "not clean" or "with errors" */
	unsigned level;                       /* of the compression, 0: not written down */
	uint64_t file_bytes, allocated_bytes; /* of the file: its length, and what it takes */
	uint64_t used_bytes;                  /* of the length, what the filesystem uses */
	uint64_t block_size, inodes, fragments, journal_bytes;
	bool exportable; /* squashfs: has the table that serving it by NFS needs */
	bool has_time;
	int64_t time; /* when it was made, by its own word */

	bool counted; /* the tree was walked, and what follows is known */
	uint64_t entries, files, directories, symlinks, character_devices, block_devices, fifos,
		sockets;
	uint64_t hard_links;                   /* names beyond the first of a file */
	uint64_t content_bytes;                /* sum of the files' sizes, hard links once */
	uint64_t xattrs, with_xattrs;          /* attributes, and objects that have any */
	uint64_t whiteouts, opaque, redirects; /* what only a layer of an overlay has */

	/* A lazy image: the file only describes an image, of which format and the rest tell. */
	bool lazy;
	uint64_t lazy_image_bytes;         /* of the device */
	uint64_t lazy_files, lazy_extents; /* that content comes from, and pieces of them */
	uint64_t lazy_metadata_bytes;      /* of the image, in the file */
	const char *const *lazy_roots;     /* the folders that the files are in, absolute */
	size_t lazy_root_count;
	const char *lazy_materialized; /* the plain file with its bytes; NULL: none */
	const struct ramet_materializing *lazy_materializing; /* as of a fork's layer */

	/* What the catalogue knows. */
	bool known;
	int64_t created;             /* when it came into the catalogue */
	const char *digest;          /* "sha256:..." of the file, "" when it was never made */
	const char *read_only_paths; /* in it, that the guest mounts read-only; one a line */
	const char *process;         /* the default command, JSON, or "" */
	const char *const *parents;  /* a layer: what it was made to stand on, the bottom first */
	size_t parent_count;
	const char *const *forks; /* the names of those that stand on it */
	size_t fork_count;
};
typedef int (*ramet_inspection_fn)(void *ctx, const struct ramet_inspection *inspection);

struct ramet_inspect_options {
	const char *image;
	bool no_count; /* the superblock and the catalogue only; the tree is not walked */
	bool digest;   /* make the digest, and note it, when the catalogue has none */
};

/* Say what an image is; each is called once. No content is read, but for the digest. Errors:
 * ENOENT, EMEDIUMTYPE (no image, or a truncated one), EUCLEAN, EOPNOTSUPP. store may be NULL. */
RAMET_API int ramet_inspect(struct ramet_store *store, const struct ramet_inspect_options *options,
	ramet_inspection_fn each, void *ctx, struct ramet_error *err);

struct ramet_verify_options {
	const char *image;
	const char *digest; /* what it must be, "sha256:..."; NULL: what the catalogue has */
	/* Of a lazy image: where folders are that were moved, as in struct ramet_attach_options. When nothing
	 * is wrong there the catalogue notes it, and what stands on the image finds them there. */
	const char *const *sources;
	/* Something is wrong with path in the image ("": with the image as a whole). Strings live
	 * until the call returns. May be NULL. */
	void (*finding)(void *ctx, const char *path, const char *sentence);
	void *finding_ctx;
	ramet_progress_fn progress; /* "verify", in bytes of content; may be NULL */
	void *progress_ctx;
};

struct ramet_verify_result {
	uint64_t entries, files;
	uint64_t content_bytes; /* of all files, hard links once */
	uint64_t findings;      /* 0: the image is good; more than were told when there are many */
	bool sources_noted;     /* where the folders are is known from now on */
	char format[16];        /* "" when it could not be told */
	char digest[72];        /* "sha256:..." of the file as it is */
	const char *digest_state; /* "right", "wrong", "noted" (there was none, it is kept now) or
				     "unknown" (there was none to compare with); static */
};

/*
 * Read everything of an image: all metadata, attributes and content, and the file's digest. What is
 * wrong is told, and is no failure: look at result->findings. A good image that the catalogue
 * does not know, or knows without a digest, is noted with it.
 * Errors: ENOENT, EACCES, EINVAL (digest is none), EOPNOTSUPP (the image cannot be read here),
 * ESTALE (it was written meanwhile). store may be NULL.
 */
RAMET_API int ramet_verify(struct ramet_store *store, const struct ramet_verify_options *options,
	struct ramet_verify_result *result, struct ramet_error *err);

/* ------------------------------------------------------------------------------------------- */
/* What this host can do.                                                                       */

struct ramet_finding {
	const char *name; /* "kvm", "firecracker", "reflink", ...; static */
	bool ok;
	const char *detail; /* what was found; lives until the callback returns */
	const char *advice; /* what to do when it is not ok, or "" */
};
typedef int (*ramet_finding_fn)(void *ctx, const struct ramet_finding *finding);

/* Probe the host and the store's filesystem. recommended gets the provider that "auto" would take
 * for an ext4 base; static. */
RAMET_API int ramet_doctor(struct ramet_store *store, ramet_finding_fn each, void *ctx,
	const char **recommended, struct ramet_error *err);

#ifdef __cplusplus
}
#endif
#endif

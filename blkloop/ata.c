// SPDX-License-Identifier: GPL-2.0-only
/*
 * What smartctl(8) and hdparm(8) ask of an ATA disk: the HDIO_* calls that libata has,
 * for the commands that change nothing on the disk. Each is a request of its own in the
 * disk's queue; the driver puts the answer into the request's slot.
 */
#include <linux/ata.h>
#include <scsi/sg.h>

#include "udrv_blk.h"

/* Everything else could write: to the medium, to settings, to the firmware. */
static bool udrv_ata_only_reads(const struct udrv_blk_ata *a)
{
	switch (a->command) {
	case ATA_CMD_ID_ATA:
		return a->nr_blocks == 1;
	case ATA_CMD_CHK_POWER:
		return a->nr_blocks == 0;
	case ATA_CMD_SMART:
		break;
	default:
		return false;
	}
	if (a->lba_mid != ATA_SMART_LBAM_PASS || a->lba_high != ATA_SMART_LBAH_PASS)
		return false;
	switch (a->features) {
	case ATA_SMART_READ_VALUES:
	case ATA_SMART_READ_THRESHOLDS:
	case 0xd5:	/* SMART READ LOG */
		return a->nr_blocks == 1;
	case 0xda:	/* SMART RETURN STATUS */
		return a->nr_blocks == 0;
	default:
		return false;
	}
}

/*
 * Runs the command; `a` has the disk's answer then. Of an open disk: its struct udrv_disk
 * may be gone with the device, but its queue is there, and gives no request then.
 */
static int udrv_ata_run(struct request_queue *q, struct udrv_blk_ata *a)
{
	struct udrv_blk_cmd *cmd;
	blk_status_t status;
	struct request *rq;

	if (!udrv_ata_only_reads(a))
		return -EPERM;
	rq = blk_mq_alloc_request(q, REQ_OP_DRV_IN, 0);
	if (IS_ERR(rq))
		return PTR_ERR(rq);
	cmd = blk_mq_rq_to_pdu(rq);
	cmd->ata = a;
	status = blk_execute_rq(rq, false);
	cmd->ata = NULL;
	blk_mq_free_request(rq);
	return blk_status_to_errno(status);
}

/* HDIO_DRIVE_CMD: four bytes, and a block behind them if the third says so. */
static int udrv_ata_drive_cmd(struct request_queue *q, struct udrv_blk_ata *a, void __user *user)
{
	u8 args[4];
	int ret;

	if (copy_from_user(args, user, sizeof(args)))
		return -EFAULT;
	a->command = args[0];
	a->features = args[2];
	a->count = args[1];
	if (a->command == ATA_CMD_SMART) {
		a->lba_low = args[1];
		a->lba_mid = ATA_SMART_LBAM_PASS;
		a->lba_high = ATA_SMART_LBAH_PASS;
		a->count = args[3];
	}
	a->nr_blocks = args[3];
	ret = udrv_ata_run(q, a);
	if (ret)
		return ret;
	args[0] = a->out_status;
	args[1] = a->out_error;
	args[2] = a->out_count;
	if (copy_to_user(user, args, sizeof(args)) ||
	    (a->nr_blocks && copy_to_user(user + sizeof(args), a->data, sizeof(a->data))))
		return -EFAULT;
	return 0;
}

/* HDIO_DRIVE_TASK: seven registers, no data. */
static int udrv_ata_drive_task(struct request_queue *q, struct udrv_blk_ata *a, void __user *user)
{
	u8 args[7];
	int ret;

	if (copy_from_user(args, user, sizeof(args)))
		return -EFAULT;
	a->command = args[0];
	a->features = args[1];
	a->count = args[2];
	a->lba_low = args[3];
	a->lba_mid = args[4];
	a->lba_high = args[5];
	ret = udrv_ata_run(q, a);
	if (ret)
		return ret;
	args[0] = a->out_status;
	args[1] = a->out_error;
	args[2] = a->out_count;
	args[3] = a->out_lba_low;
	args[4] = a->out_lba_mid;
	args[5] = a->out_lba_high;
	return copy_to_user(user, args, sizeof(args)) ? -EFAULT : 0;
}

/* HDIO_GET_IDENTITY has the texts in the order of reading, the disk swaps each pair. */
static void udrv_ata_swap_text(u8 *data, unsigned int first_word, unsigned int nr_words)
{
	unsigned int n;

	for (n = first_word; n < first_word + nr_words; n++)
		swap(data[2 * n], data[2 * n + 1]);
}

static int udrv_ata_identity(struct request_queue *q, struct udrv_blk_ata *a, void __user *user)
{
	int ret;

	a->command = ATA_CMD_ID_ATA;
	a->nr_blocks = 1;
	ret = udrv_ata_run(q, a);
	if (ret)
		return ret;
	udrv_ata_swap_text(a->data, ATA_ID_SERNO, ATA_ID_SERNO_LEN / 2);
	udrv_ata_swap_text(a->data, ATA_ID_FW_REV, ATA_ID_FW_REV_LEN / 2);
	udrv_ata_swap_text(a->data, ATA_ID_PROD, ATA_ID_PROD_LEN / 2);
	return copy_to_user(user, a->data, sizeof(a->data)) ? -EFAULT : 0;
}

int udrv_disk_ioctl(struct block_device *bdev, udrv_blk_mode_t mode, unsigned int cmd,
		    unsigned long arg)
{
	struct request_queue *q = bdev->bd_disk->queue;
	void __user *user = (void __user *)arg;
	int (*call)(struct request_queue *q, struct udrv_blk_ata *a, void __user *user);
	struct udrv_blk_ata *a;
	int ret;

	switch (cmd) {
	case SG_IO:
		/* There is none; but only so hdparm goes on to the calls below. */
		return -EINVAL;
	case HDIO_GET_IDENTITY:
		call = udrv_ata_identity;
		break;
	case HDIO_DRIVE_CMD:
		call = udrv_ata_drive_cmd;
		break;
	case HDIO_DRIVE_TASK:
		call = udrv_ata_drive_task;
		break;
	default:
		return -ENOTTY;
	}
	/* As libata has it, though no command here changes anything. */
	if (cmd != HDIO_GET_IDENTITY && (!capable(CAP_SYS_ADMIN) || !capable(CAP_SYS_RAWIO)))
		return -EACCES;
	a = kzalloc(sizeof(*a), GFP_KERNEL);
	if (!a)
		return -ENOMEM;
	ret = call(q, a, user);
	kfree(a);
	return ret;
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * udrv_pci22 - for tests: marks PCI functions, by name, as of PCI 2.2, without the
 * INTx-disable bit of the command register. All that QEMU emulates have it.
 */
#include <linux/module.h>
#include <linux/pci.h>

static char *bdf[8];
static int nr_bdf;
module_param_array(bdf, charp, &nr_bdf, 0);
MODULE_PARM_DESC(bdf, "Functions, as in 0000:00:10.0");

static int udrv_pci22_mark(const char *name, bool old)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (strcmp(pci_name(pdev), name))
			continue;
		pdev->broken_intx_masking = old;
		pci_dev_put(pdev);
		return 0;
	}
	return -ENODEV;
}

static int __init udrv_pci22_init(void)
{
	int ret = 0;
	int n;

	for (n = 0; n < nr_bdf && !ret; n++)
		ret = udrv_pci22_mark(bdf[n], true);
	return ret;
}
module_init(udrv_pci22_init);

static void __exit udrv_pci22_exit(void)
{
	int n;

	for (n = 0; n < nr_bdf; n++)
		udrv_pci22_mark(bdf[n], false);
}
module_exit(udrv_pci22_exit);

MODULE_DESCRIPTION("Test: PCI functions without the INTx-disable bit");
MODULE_LICENSE("GPL");

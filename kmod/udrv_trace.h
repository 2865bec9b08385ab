/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * udrv_trace.h - tracepoints of the core: how sessions begin and end, and who wakes
 * whom. docs/observing.md has a row for each, and shows them at work.
 *
 * They look at what is the kernel's own only, never at memory that the driver can write.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM udrv

#if !defined(UDRV_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define UDRV_TRACE_H

#include <linux/tracepoint.h>

#include "udrv_core.h"

TRACE_EVENT(udrv_session_begin,
	TP_PROTO(struct udrv_session *s),
	TP_ARGS(s),
	TP_STRUCT__entry(
		__string(bdf, pci_name(s->udev->pdev))
		__field(pid_t, pid)
		__string(comm, s->comm)
	),
	TP_fast_assign(
		udrv_assign_str(bdf, pci_name(s->udev->pdev));
		__entry->pid = s->pid;
		udrv_assign_str(comm, s->comm);
	),
	TP_printk("bdf=%s pid=%d comm=%s", __get_str(bdf), __entry->pid, __get_str(comm))
);

DECLARE_EVENT_CLASS(udrv_session_cause,
	TP_PROTO(struct udrv_session *s, const char *cause),
	TP_ARGS(s, cause),
	TP_STRUCT__entry(
		__string(bdf, pci_name(s->udev->pdev))
		__field(pid_t, pid)
		__string(cause, cause)
	),
	TP_fast_assign(
		udrv_assign_str(bdf, pci_name(s->udev->pdev));
		__entry->pid = s->pid;
		udrv_assign_str(cause, cause);
	),
	TP_printk("bdf=%s pid=%d cause=%s", __get_str(bdf), __entry->pid, __get_str(cause))
);

/* The driver broke the protocol: by what. The end of its session follows. */
DEFINE_EVENT(udrv_session_cause, udrv_violation,
	TP_PROTO(struct udrv_session *s, const char *cause),
	TP_ARGS(s, cause)
);

/* The end is decided. */
DEFINE_EVENT(udrv_session_cause, udrv_session_end,
	TP_PROTO(struct udrv_session *s, const char *cause),
	TP_ARGS(s, cause)
);

/* The end is carried out: another session may begin. */
TRACE_EVENT(udrv_session_over,
	TP_PROTO(struct udrv_session *s, bool quiet),
	TP_ARGS(s, quiet),
	TP_STRUCT__entry(
		__string(bdf, pci_name(s->udev->pdev))
		__field(pid_t, pid)
		__field(bool, quiet)
	),
	TP_fast_assign(
		udrv_assign_str(bdf, pci_name(s->udev->pdev));
		__entry->pid = s->pid;
		__entry->quiet = quiet;
	),
	TP_printk("bdf=%s pid=%d quiet=%d", __get_str(bdf), __entry->pid, __entry->quiet)
);

/* Its file may outlive the session, but neither the device nor its name. */
DECLARE_EVENT_CLASS(udrv_irq,
	TP_PROTO(struct udrv_irq *irq),
	TP_ARGS(irq),
	TP_STRUCT__entry(
		__string(bdf, pci_name(irq->session->udev->pdev))
		__field(unsigned int, line)
	),
	TP_fast_assign(
		udrv_assign_str(bdf, pci_name(irq->session->udev->pdev));
		__entry->line = irq->line;
	),
	TP_printk("bdf=%s line=%u", __get_str(bdf), __entry->line)
);

/* From the device, which is masked until the driver comes back. */
DEFINE_EVENT(udrv_irq, udrv_interrupt,
	TP_PROTO(struct udrv_irq *irq),
	TP_ARGS(irq)
);

/* The kernel has something for a driver that said that it sleeps. */
DEFINE_EVENT(udrv_irq, udrv_doorbell,
	TP_PROTO(struct udrv_irq *irq),
	TP_ARGS(irq)
);

/* The driver has something for the kernel, or comes to look. */
DEFINE_EVENT(udrv_irq, udrv_publish,
	TP_PROTO(struct udrv_irq *irq),
	TP_ARGS(irq)
);

/* The driver is told what has come since it was last told. */
TRACE_EVENT(udrv_wakeup,
	TP_PROTO(struct udrv_irq *irq, const struct udrv_irq_events *ev),
	TP_ARGS(irq, ev),
	TP_STRUCT__entry(
		__string(bdf, pci_name(irq->session->udev->pdev))
		__field(unsigned int, line)
		__field(u32, interrupts)
		__field(u32, doorbells)
	),
	TP_fast_assign(
		udrv_assign_str(bdf, pci_name(irq->session->udev->pdev));
		__entry->line = irq->line;
		__entry->interrupts = ev->interrupts;
		__entry->doorbells = ev->doorbells;
	),
	TP_printk("bdf=%s line=%u interrupts=%u doorbells=%u", __get_str(bdf), __entry->line,
		  __entry->interrupts, __entry->doorbells)
);

#endif /* UDRV_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE udrv_trace
#include <trace/define_trace.h>

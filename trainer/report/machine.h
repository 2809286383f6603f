#ifndef TRAINER_REPORT_MACHINE_H_
#define TRAINER_REPORT_MACHINE_H_

#include <cstdint>

#include "comm/base/dtype.h"

namespace moe {

// Resident memory of this process in bytes, now; 0 if the system does not say.
int64_t ResidentBytes();
// The most that was resident since the process began, or since
// ForgetPeakResidentBytes: pages that were free by then count no more. 0 if the
// system does not say.
int64_t PeakResidentBytes();
// Without effect on systems that do not allow it.
void ForgetPeakResidentBytes();

// Memory that could be had now without swapping, in bytes; 0 if the system does
// not say.
int64_t AvailableBytes();

// The largest cache of this processor in bytes, as the system tells it; 32 MiB
// if it does not. Where several groups of cores have a cache each, that may be
// the sum.
int64_t LastCacheBytes();

// Floating-point operations a second of one core of this processor: the best of
// several short runs of a loop of multiply-adds that stays in registers, with
// the widest vectors the processor has. What `mfu` is measured against; takes
// about 20 ms. In bfloat16 the multiply-adds are dot products of pairs with
// float32 sums, where the processor has an instruction for them (matrix units
// are not counted); elsewhere they are float32's.
double PeakFlopsPerCore(DType dtype);

}  // namespace moe

#endif  // TRAINER_REPORT_MACHINE_H_

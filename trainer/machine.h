#ifndef TRAINER_MACHINE_H_
#define TRAINER_MACHINE_H_

#include <cstdint>

namespace moe {

// Resident memory of this process in bytes, now; 0 if the system does not say.
int64_t ResidentBytes();

// Floating-point operations a second of one core of this processor in float32:
// the best of several short runs of a loop of fused multiply-adds that stays
// in registers, with the widest vectors the processor has. What `mfu` is
// measured against; takes about 20 ms.
double PeakFlopsPerCore();

}  // namespace moe

#endif  // TRAINER_MACHINE_H_

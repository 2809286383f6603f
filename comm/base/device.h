#ifndef COMM_BASE_DEVICE_H_
#define COMM_BASE_DEVICE_H_

namespace moe {

// Where memory lies and kernels run.
enum class DeviceKind { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;  // of the accelerators of this node; 0 for the CPU

  friend bool operator==(const Device&, const Device&) = default;
};

}  // namespace moe

#endif  // COMM_BASE_DEVICE_H_

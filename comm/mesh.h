#ifndef COMM_MESH_H_
#define COMM_MESH_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace moe {

// The named sets of ranks that share a piece of the work; see Mesh.
enum class Axis { kWorld, kData, kTensor, kExpert, kExpertReplica };
inline constexpr Axis kAllAxes[] = {Axis::kWorld, Axis::kData, Axis::kTensor,
                                    Axis::kExpert, Axis::kExpertReplica};

// "world", "data", "tensor", "expert", "expert replica".
const char* Name(Axis axis);

// How W ranks are split into groups; pure arithmetic without communicators,
// so that a dry run can ask it about a thousand ranks.
//
// World = data x tensor, tensor ranks adjacent. The expert groups are laid over
// the same plane independently of the tensor groups: `expert` consecutive
// ranks hold one copy of all experts, and the ranks that hold the same experts
// form an expert replica group.
//
//   W = 8, expert = 4:   expert groups {0 1 2 3} {4 5 6 7}
//                        replica groups {0 4} {1 5} {2 6} {3 7}
class Mesh {
 public:
  // `expert` 0 is gcd(num_experts, world). InvalidArgument says which number
  // must divide which.
  static absl::StatusOr<Mesh> Create(int world, int tensor, int expert,
                                     int num_experts);

  int world() const { return world_; }
  int tensor() const { return tensor_; }
  int expert() const { return expert_; }
  int data() const { return world_ / tensor_; }
  int expert_replicas() const { return world_ / expert_; }

  // Number of ranks in each group of the axis.
  int Size(Axis axis) const;
  // Position of `rank` in its group of the axis.
  int Index(Axis axis, int rank) const;
  // World ranks of the group that `rank` belongs to, in group order.
  std::vector<int> Members(Axis axis, int rank) const;

  // "16 ranks: data 16, tensor 1, expert 8, expert replica 2"
  std::string ToString() const;

 private:
  Mesh(int world, int tensor, int expert)
      : world_(world), tensor_(tensor), expert_(expert) {}

  int world_;
  int tensor_;
  int expert_;
};

}  // namespace moe

#endif  // COMM_MESH_H_

#include "comm/mesh.h"

#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

absl::Status CheckAtLeastOne(absl::string_view name, int value) {
  if (value >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, ", must be at least 1"));
}

absl::Status CheckDivisible(absl::string_view name, int value,
                            absl::string_view divisor_name, int divisor) {
  if (value % divisor == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, ", must be divisible by ", divisor_name,
                   " (", divisor, ")"));
}

}  // namespace

const char* Name(Axis axis) {
  switch (axis) {
    case Axis::kWorld:
      return "world";
    case Axis::kData:
      return "data";
    case Axis::kTensor:
      return "tensor";
    case Axis::kExpert:
      return "expert";
    case Axis::kExpertReplica:
      return "expert replica";
  }
  CHECK(false && "not an Axis");
  return "";
}

absl::StatusOr<Mesh> Mesh::Create(int world, int tensor, int expert,
                                  int num_experts) {
  RETURN_IF_ERROR(CheckAtLeastOne("number of ranks", world));
  RETURN_IF_ERROR(CheckAtLeastOne("parallel.tensor", tensor));
  RETURN_IF_ERROR(CheckAtLeastOne("num_experts", num_experts));
  if (expert < 0)
    return absl::InvalidArgumentError(
        absl::StrCat("parallel.expert is ", expert,
                     ", must be at least 0 (0: chosen from the ranks)"));
  if (expert == 0) expert = std::gcd(num_experts, world);
  RETURN_IF_ERROR(
      CheckDivisible("number of ranks", world, "parallel.tensor", tensor));
  RETURN_IF_ERROR(
      CheckDivisible("number of ranks", world, "parallel.expert", expert));
  RETURN_IF_ERROR(
      CheckDivisible("num_experts", num_experts, "parallel.expert", expert));
  return Mesh(world, tensor, expert);
}

int Mesh::Size(Axis axis) const {
  switch (axis) {
    case Axis::kWorld:
      return world_;
    case Axis::kData:
      return data();
    case Axis::kTensor:
      return tensor_;
    case Axis::kExpert:
      return expert_;
    case Axis::kExpertReplica:
      return expert_replicas();
  }
  CHECK(false && "not an Axis");
  return 0;
}

int Mesh::Index(Axis axis, int rank) const {
  CHECK(rank >= 0 && rank < world_);
  switch (axis) {
    case Axis::kWorld:
      return rank;
    case Axis::kData:
      return rank / tensor_;
    case Axis::kTensor:
      return rank % tensor_;
    case Axis::kExpert:
      return rank % expert_;
    case Axis::kExpertReplica:
      return rank / expert_;
  }
  CHECK(false && "not an Axis");
  return 0;
}

std::vector<int> Mesh::Members(Axis axis, int rank) const {
  // Neighbours in data and replica groups are a whole tensor or expert group
  // apart; in the other groups they are adjacent.
  int stride = 1;
  if (axis == Axis::kData) stride = tensor_;
  if (axis == Axis::kExpertReplica) stride = expert_;
  const int first = rank - Index(axis, rank) * stride;
  std::vector<int> members;
  for (int i = 0; i < Size(axis); ++i) members.push_back(first + i * stride);
  return members;
}

std::string Mesh::ToString() const {
  return absl::StrCat(world_, world_ == 1 ? " rank" : " ranks", ": data ",
                      data(), ", tensor ", tensor_, ", expert ", expert_,
                      ", expert replica ", expert_replicas());
}

}  // namespace moe

// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Env} from "../src/Env.sol";
import {Register} from "../src/Register.sol";
import {Router} from "../src/Router.sol";
import {VoterList} from "../src/Voters.sol";
import {Test} from "./support/Test.sol";

/// @dev Router, Env, Register and VoterList: who may write what, and what is remembered.
contract DirectoryTest is Test {
    event Registered(address indexed who, bytes32 fileHash);
    event OwnerChanged(address indexed owner);
    event TermChanged(bytes32 indexed key, uint256 value);
    event EntryChanged(bytes32 indexed key, address target);

    address private stranger = named("stranger");

    function test_the_router_names_what_its_owner_set_and_nothing_else() public {
        Router router = new Router();
        router.set(keccak256("Scatter"), address(0x5c));
        vm.assertEq(router.get(keccak256("Scatter")), address(0x5c));
        vm.assertEq(router.get(keccak256("Env")), address(0));
        vm.prank(stranger);
        vm.expectRevert("denied");
        router.set(keccak256("Scatter"), stranger);
    }

    function test_an_owner_hands_over_completely() public {
        Router router = new Router();
        router.setOwner(stranger);
        vm.expectRevert("denied");
        router.set(keccak256("Scatter"), address(1));
        vm.prank(stranger);
        router.set(keccak256("Scatter"), address(2));
        vm.assertEq(router.get(keccak256("Scatter")), address(2));
        vm.expectRevert("denied");
        router.setOwner(address(this));
    }

    function test_whatever_an_owner_does_is_seen() public {
        Router router = new Router();
        vm.expectEmit(address(router));
        emit EntryChanged("key", address(1));
        router.set("key", address(1));
        vm.expectEmit(address(router));
        emit OwnerChanged(stranger);
        router.setOwner(stranger);
        Env env = new Env(new bytes32[](0), new uint256[](0));
        vm.expectEmit(address(env));
        emit TermChanged("key", 5);
        env.setuint("key", 5);
    }

    function test_env_has_the_documented_defaults() public {
        Env env = new Env(new bytes32[](0), new uint256[](0));
        vm.assertEq(env.getuint(keccak256("acceptHoldDuration")), 900);
        vm.assertEq(env.getuint(keccak256("defaultMinValidations")), 2);
        vm.assertEq(env.getuint(keccak256("minDuration")), 7 days);
        vm.assertEq(env.getuint(keccak256("maxDuration")), 3650 days);
        vm.assertGt(env.getuint(keccak256("minBid")), 0);
        vm.assertEq(env.getuint(keccak256("offerDuration")), 7 days);
        vm.assertEq(env.getuint(keccak256("voteDuration")), 1 days);
        vm.assertEq(env.getuint(keccak256("no such key")), 0);
    }

    function test_the_deployer_replaces_single_defaults() public {
        bytes32[] memory keys = new bytes32[](2);
        uint256[] memory values = new uint256[](2);
        (keys[0], values[0]) = (keccak256("minDuration"), 20);
        (keys[1], values[1]) = (keccak256("voteDuration"), 10);
        Env env = new Env(keys, values);
        vm.assertEq(env.getuint(keccak256("minDuration")), 20);
        vm.assertEq(env.getuint(keccak256("voteDuration")), 10);
        vm.assertEq(env.getuint(keccak256("acceptHoldDuration")), 900);

        vm.expectRevert("keys and values differ");
        new Env(keys, new uint256[](1));
    }

    function test_all_terms_in_one_call_are_the_single_values() public {
        Env env = new Env(new bytes32[](0), new uint256[](0));
        string[7] memory names = [
            "acceptHoldDuration",
            "defaultMinValidations",
            "minDuration",
            "maxDuration",
            "minBid",
            "offerDuration",
            "voteDuration"
        ];
        for (uint256 i = 0; i < names.length; i++) {
            env.setuint(keccak256(bytes(names[i])), 1_000 + i);
        }
        Env.Terms memory t = env.terms();
        vm.assertEq(t.acceptHoldDuration, 1_000);
        vm.assertEq(t.defaultMinValidations, 1_001);
        vm.assertEq(t.minDuration, 1_002);
        vm.assertEq(t.maxDuration, 1_003);
        vm.assertEq(t.minBid, 1_004);
        vm.assertEq(t.offerDuration, 1_005);
        vm.assertEq(t.voteDuration, 1_006);
    }

    function test_only_the_owner_sets_terms() public {
        Env env = new Env(new bytes32[](0), new uint256[](0));
        vm.prank(stranger);
        vm.expectRevert("denied");
        env.setuint(keccak256("minBid"), 0);
    }

    function test_registering_again_replaces_the_file_and_keeps_the_first_time_and_place() public {
        Register register = new Register();
        vm.warp(1_000);
        vm.expectEmit(address(register));
        emit Registered(address(this), bytes32("first"));
        register.register("first");
        vm.prank(stranger);
        register.register("other");

        vm.warp(2_000);
        vm.expectEmit(address(register));
        emit Registered(address(this), bytes32("second"));
        register.register("second");

        vm.assertEq(register.getUserFile(address(this)), "second");
        vm.assertEq(register.registeredAt(address(this)), 1_000);
        vm.assertEq(register.voterOrdinal(address(this)), 1);
        vm.assertEq(register.voterOrdinal(stranger), 2);
        vm.assertEq(register.voterCount(), 2);
    }

    function test_who_never_registered_has_no_file_time_or_place() public {
        Register register = new Register();
        vm.assertEq(register.getUserFile(stranger), bytes32(0));
        vm.assertEq(register.registeredAt(stranger), 0);
        vm.assertEq(register.voterOrdinal(stranger), 0);
    }

    function test_an_empty_file_does_not_register() public {
        Register register = new Register();
        vm.expectRevert("no file");
        register.register(0);
    }

    function test_a_closed_list_takes_each_voter_once_from_its_owner() public {
        VoterList list = new VoterList();
        list.add(stranger);
        vm.assertEq(list.voterOrdinal(stranger), 1);
        vm.expectRevert("already listed");
        list.add(stranger);
        vm.prank(stranger);
        vm.expectRevert("denied");
        list.add(named("friend"));
        vm.assertEq(list.voterCount(), 1);
    }
}
